"""From the address of a database to libpq's connection string: TLS, and the addresses that a host name must not lead to.

libpq reads certificates from files: those of the configuration go into a private folder that lives as long as the service.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

from psycopg.conninfo import make_conninfo

from syncline.auth.addresses import ANY_ADDRESS
from syncline.errors import ConfigError
from syncline.service.addresses import DatabaseAddress

__all__ = ["conninfo", "resolved_addresses", "system_certificates"]

Closing = contextlib.AsyncExitStack | contextlib.ExitStack
_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def conninfo(address: DatabaseAddress, closing: Closing) -> str:
    """The connection string. Blocks for a look-up of the name where `reject_ip_ranges` or `tls_servername` is set.

    Raises ConfigError (PSYNC_S1109) where the host lies in a rejected range, or cannot be looked up then.
    """
    return make_conninfo(
        port=address.port,
        user=address.user,
        password=address.password or None,
        dbname=address.database,
        sslmode=address.sslmode,
        connect_timeout=address.connect_timeout_s,
        **_host(address),
        **(_certificates(address, closing) if address.sslmode != "disable" else {}),
    )


def resolved_addresses(host: str, port: int) -> list[str]:
    """IP addresses of a host, each once, in the resolver's order. Raises OSError where there is none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def system_certificates(environment: Mapping[str, str] = os.environ) -> str:
    """The file with the authorities that this system trusts; `system` where only OpenSSL itself knows.

    The driver brings an OpenSSL of its own, which looks for them where it was built.
    """
    named = environment.get("SSL_CERT_FILE")
    paths = ssl.get_default_verify_paths()
    candidates = [named, paths.cafile, paths.openssl_cafile, *_BUNDLES]
    return next((path for path in candidates if path and Path(path).is_file()), "system")


def _host(address: DatabaseAddress) -> dict[str, str]:
    """`host` is the name that a certificate has to carry, `hostaddr` where to connect to: the address that was checked, no other."""
    if address.allowed == ANY_ADDRESS and not address.tls_servername:
        return {"host": address.host}
    name = address.tls_servername or address.host
    try:
        found = resolved_addresses(address.host, address.port)
    except OSError as exc:
        raise ConfigError(
            f"The host of {address.masked} cannot be looked up: {exc.strerror or exc}",
            code="PSYNC_S1109",
            hint="With reject_ip_ranges or tls_servername the name is looked up when the service starts: start it when the name is known.",
        ) from exc
    rejected = [text for text in found if address.allowed.refusal(text)]
    if rejected:
        raise ConfigError(
            f"The host of {address.masked} is {', '.join(rejected)}, which reject_ip_ranges does not allow.",
            code="PSYNC_S1109",
            hint="Connect to another host, or take the range out of reject_ip_ranges.",
        )
    return {"host": ",".join([name] * len(found)), "hostaddr": ",".join(found)}


def _certificates(address: DatabaseAddress, closing: Closing) -> dict[str, str]:
    files = {
        "sslrootcert": address.cacert,
        "sslcert": address.client_certificate,
        "sslkey": address.client_private_key,
    }
    given = {name: text for name, text in files.items() if text}
    parameters: dict[str, str] = {}
    if given:
        folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="syncline-")))
        for name, text in given.items():
            path = folder / f"{name}.pem"
            path.touch(mode=0o600)  # libpq refuses a key that others may read
            path.write_text(text if text.endswith("\n") else f"{text}\n")
            parameters[name] = str(path)
    parameters.setdefault("sslrootcert", system_certificates())
    return parameters
