"""What libpq's refusals of TLS mean, and what to do about them: the same for the source and for storage in Postgres."""

from __future__ import annotations

__all__ = ["tls_hint"]

# Parts of libpq's messages (fe-secure-openssl.c, fe-secure-common.c, fe-connect.c) and of the server's (auth.c): they have no SQLSTATE.
_HINTS = (
    (
        "certificate verify failed",
        "The server's certificate is not signed by an authority that we trust: put the authority's certificate (PEM) into cacert.",
    ),
    (
        "does not match host name",
        "The server's certificate is for another name: connect by the name that is in it, or set sslmode: verify-ca, which does not"
        " look at the name.",
    ),
    (
        "server does not support SSL",
        "The server has no TLS: switch it on there (ssl = on), or set sslmode: disable where nobody can listen on the way.",
    ),
    (
        "could not read root certificate file",
        "cacert is not a certificate: it is the text of a PEM file, from -----BEGIN CERTIFICATE----- on.",
    ),
    (
        "client certificate",
        "The server asks for a certificate of ours: put it and its key (PEM) into client_certificate and client_private_key.",
    ),
    (
        "no encryption",
        "The server's pg_hba.conf lets this user in over TLS only: set sslmode: verify-full, or verify-ca with cacert.",
    ),
)


def tls_hint(text: str) -> str:
    """What to do about this message of libpq; empty where it is not about TLS."""
    return next((hint for part, hint in _HINTS if part in text), "")
