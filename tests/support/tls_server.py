"""A Postgres that speaks TLS, with a certificate authority of its own, made when it is needed."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tools.postgres_versions import programs

from syncline.embedded import EmbeddedPostgres
from syncline.embedded.binaries import VARIABLE

__all__ = ["CertificateAuthority", "postgres_with_tls"]

DEBIAN = Path("/usr/lib/postgresql")
LIFETIME = dt.timedelta(days=1)
HBA = "hostssl all tls_only all trust\nhostssl all by_certificate all cert\nhost all postgres all trust\n"


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """A self-signed authority. `pem` is what goes into `cacert`."""

    pem: str
    key: ec.EllipticCurvePrivateKey
    name: x509.Name

    @classmethod
    def new(cls, common_name: str = "Test authority") -> CertificateAuthority:
        """A new one, which nobody trusts yet."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        certificate = (
            _builder(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate.public_bytes(serialization.Encoding.PEM).decode(), key, name)

    def issue(self, host: str) -> tuple[bytes, bytes]:
        """Certificate and key (PEM) of a server or a client of this name."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = (
            _builder(subject, self.name, key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM), private


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LIFETIME)
        .not_valid_after(now + LIFETIME)
    )


def programs_with_tls() -> Path | None:
    """Programs that were built with OpenSSL: those of the embedded wheel were not."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    try:
        return programs("18")
    except (OSError, subprocess.SubprocessError):  # no registry at hand
        installed = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
        return installed[-1].parent if installed else None


@contextmanager
def postgres_with_tls(authority: CertificateAuthority) -> Generator[EmbeddedPostgres]:
    """A server whose certificate is for `localhost` alone.

    The role `tls_only` is let in over TLS only, and `by_certificate` with a certificate of the authority for that name.
    """
    found = programs_with_tls()
    if found is None:
        pytest.skip("no Postgres with TLS: the embedded one is built without it, and no other was found or fetched")
    server = EmbeddedPostgres(bin_directory=found)
    folder = server.data_directory
    certificate, key = authority.issue("localhost")
    files = {
        "server.crt": certificate,
        "server.key": key,
        "authority.crt": authority.pem.encode(),
        "hba.conf": HBA.encode(),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
        if server._user is not None and server._group is not None:  # the server runs as another user
            os.chown(folder / name, server._user, server._group)
    server._settings |= {
        "ssl": "on",
        "ssl_cert_file": str(folder / "server.crt"),
        "ssl_key_file": str(folder / "server.key"),
        "ssl_ca_file": str(folder / "authority.crt"),
        "hba_file": str(folder / "hba.conf"),
    }
    with server:
        yield server
