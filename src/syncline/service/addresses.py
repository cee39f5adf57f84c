"""Where a database is: the source, or bucket storage in Postgres. Both are written with the same keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

__all__ = ["DatabaseAddress", "PostgresKeys", "as_number", "check_address"]

SSL_MODES = ("verify-full", "verify-ca", "disable")
PORT_DEFAULT = 5432
CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a database is. `__repr__` hides the password."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str
    cacert: str | None
    connect_timeout_s: int

    def __repr__(self) -> str:
        return f"DatabaseAddress({self.masked})"

    @property
    def masked(self) -> str:
        """The address for logs."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"


class PostgresKeys(Protocol):
    """The keys by which a Postgres database is named."""

    uri: str | None
    hostname: str | None
    port: int | str | None
    username: str | None
    password: str | None
    database: str | None
    sslmode: str
    cacert: str | None
    connect_timeout: int | str | None


def check_address(keys: PostgresKeys, whose: str, note: Any) -> DatabaseAddress | None:
    """The address; explicit keys override the parts of `uri`. None where something is missing, which `note` was told.

    `whose` is "source" or "storage", for messages.
    """
    if keys.sslmode not in SSL_MODES:
        note(f"the {whose}'s sslmode must be one of {', '.join(SSL_MODES)}, not {keys.sslmode!r}.")
    if keys.sslmode == "verify-ca" and not keys.cacert:
        note(f"the {whose}'s sslmode verify-ca needs cacert.", code="PSYNC_S1104")
    uri = urlparse(keys.uri or "")
    if keys.uri and uri.scheme not in ("postgres", "postgresql"):
        note(
            f"the {whose}'s uri must begin with postgresql://",
            code="PSYNC_S1109",
            hint="postgresql://user:password@host/name",
        )
        return None
    try:
        uri_port = uri.port
    except ValueError:
        note(f"the port in the {whose}'s uri is not a port.", code="PSYNC_S1110")
        return None
    parts = {
        "PSYNC_S1106 hostname": keys.hostname or uri.hostname,
        "PSYNC_S1107 username": keys.username or unquote(uri.username or ""),
        "PSYNC_S1105 database": keys.database or unquote(uri.path.lstrip("/")),
    }
    for key, value in parts.items():
        if not value:
            code, field = key.split()
            note(f"the {whose}'s {field} is missing.", code=code, hint=f"Set {field}, or put it into uri.")
    port = as_number(keys.port) if keys.port is not None else (uri_port or PORT_DEFAULT)
    if port is None or not 1024 <= port <= 65535:
        note(f"the {whose}'s port must be a number from 1024 to 65535.", code="PSYNC_S1110")
    host, user, database = parts.values()
    if not (host and user and database and port):
        return None
    return DatabaseAddress(
        host=host,
        port=port,
        user=user,
        password=keys.password or unquote(uri.password or ""),
        database=database,
        sslmode=keys.sslmode,
        cacert=keys.cacert,
        connect_timeout_s=as_number(keys.connect_timeout) or CONNECT_TIMEOUT_S,
    )


def as_number(value: int | str | None) -> int | None:
    """A number, or None where the text is none: environment variables are texts."""
    if isinstance(value, int):
        return value
    return int(value) if value is not None and value.isdecimal() else None
