"""Where a database is: the source, or bucket storage in Postgres. Both are written with the same keys (service config reference, 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlparse

from syncline.auth.addresses import ANY_ADDRESS, AddressRules, read_address_rules
from syncline.errors import ConfigError

__all__ = ["DatabaseAddress", "Note", "PostgresKeys", "as_number", "check_address"]

SSL_MODES = ("verify-full", "verify-ca", "disable")
PORT_DEFAULT = 5432
PORT_MIN, PORT_MAX = 1024, 65535
CONNECT_TIMEOUT_S = 10


class Note(Protocol):
    """Takes down a problem of the configuration, to go on looking for others."""

    def __call__(self, message: str, *, code: str = ..., hint: str = ...) -> None:
        """`message` follows the file's name; `hint` says what to write."""
        ...


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """Where a database is and how to get there. `__repr__` hides the password and the keys."""

    host: str
    port: int
    user: str
    password: str
    database: str
    sslmode: str
    cacert: str | None
    connect_timeout_s: int
    client_certificate: str | None = None
    client_private_key: str | None = None
    tls_servername: str | None = None
    allowed: AddressRules = ANY_ADDRESS  # from reject_ip_ranges

    def __repr__(self) -> str:
        return f"DatabaseAddress({self.masked})"

    @property
    def masked(self) -> str:
        """The address for logs."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql://{self.user}@{host}:{self.port}/{self.database}"


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
    client_certificate: str | None
    client_private_key: str | None
    tls_servername: str | None
    reject_ip_ranges: list[str]
    connect_timeout: int | str | None


@dataclass(frozen=True, slots=True)
class _UriParts:
    hostname: str = ""
    port: int | None = None
    username: str = ""
    password: str = ""
    database: str = ""
    connect_timeout: str | None = None


def check_address(keys: PostgresKeys, whose: str, note: Note) -> DatabaseAddress | None:
    """The address; explicit keys override the parts of `uri`. None where something is missing, which `note` was told.

    `whose` is "source" or "storage", for messages.
    """
    _check_tls(keys, whose, note)
    allowed = _check_ranges(keys, whose, note)
    uri = _parse_uri(keys.uri, whose, note) if keys.uri else _UriParts()
    if uri is None:
        return None
    parts = {
        "PSYNC_S1106 hostname": keys.hostname or uri.hostname,
        "PSYNC_S1107 username": keys.username or uri.username,
        "PSYNC_S1105 database": keys.database or uri.database,
    }
    for key, value in parts.items():
        if not value:
            code, field = key.split()
            note(f"the {whose}'s {field} is missing.", code=code, hint=f"Set {field}, or put it into uri.")
    port = as_number(keys.port) if keys.port is not None else (uri.port or PORT_DEFAULT)
    if port is None or not PORT_MIN <= port <= PORT_MAX:
        note(f"the {whose}'s port must be a number from {PORT_MIN} to {PORT_MAX}.", code="PSYNC_S1110")
    timeout = keys.connect_timeout if keys.connect_timeout is not None else uri.connect_timeout
    timeout_s = as_number(timeout) if timeout is not None else CONNECT_TIMEOUT_S
    if timeout_s is None or timeout_s < 1:
        note(f"the {whose}'s connect_timeout must be a number of seconds from 1.")
    host, user, database = parts.values()
    if not (host and user and database and port and timeout_s):
        return None
    return DatabaseAddress(
        host=host,
        port=port,
        user=user,
        password=keys.password or uri.password,
        database=database,
        sslmode=keys.sslmode,
        cacert=keys.cacert,
        connect_timeout_s=timeout_s,
        client_certificate=keys.client_certificate,
        client_private_key=keys.client_private_key,
        tls_servername=keys.tls_servername,
        allowed=allowed,
    )


def as_number(value: int | str | None) -> int | None:
    """A number, or None where the text is none: environment variables are texts."""
    if isinstance(value, int):
        return value
    return int(value) if value is not None and value.isascii() and value.isdecimal() else None


def _check_tls(keys: PostgresKeys, whose: str, note: Note) -> None:
    if keys.sslmode not in SSL_MODES:
        note(
            f"the {whose}'s sslmode must be one of {', '.join(SSL_MODES)}, not {keys.sslmode!r}.",
            hint="verify-full is the default; a database on this machine or in a private network may have `sslmode: disable`.",
        )
    if keys.sslmode == "verify-ca" and not keys.cacert:
        note(
            f"the {whose}'s sslmode verify-ca needs cacert.",
            code="PSYNC_S1104",
            hint="cacert: |\n  -----BEGIN CERTIFICATE-----\n  …",
        )
    if bool(keys.client_certificate) != bool(keys.client_private_key):
        note(f"the {whose}'s client_certificate and client_private_key belong together: one of them is missing.")
    for name in ("cacert", "client_certificate", "client_private_key"):
        text: str | None = getattr(keys, name)
        if text and "-----BEGIN " not in text:
            note(
                f"the {whose}'s {name} is no PEM text.",
                hint="Write the text of the file itself, beginning with -----BEGIN …, not its path.",
            )


def _check_ranges(keys: PostgresKeys, whose: str, note: Note) -> AddressRules:
    for text in keys.reject_ip_ranges:
        try:
            read_address_rules(block_local=False, ranges=[text])
        except ConfigError:
            hint = "Write a range such as 10.0.0.0/8 or fd00::/8, or `local`."
            note(f"the {whose}'s reject_ip_ranges: {text!r} is no range of addresses.", hint=hint)
            return ANY_ADDRESS
    return read_address_rules(block_local=False, ranges=keys.reject_ip_ranges)


def _parse_uri(text: str, whose: str, note: Note) -> _UriParts | None:
    """The parts of a URI; of its parameters only connect_timeout, as in the reference."""
    uri = urlparse(text.strip())
    if uri.scheme not in ("postgres", "postgresql"):
        hint = "postgresql://user:password@host/name"
        note(f"the {whose}'s uri must begin with postgresql://", code="PSYNC_S1109", hint=hint)
        return None
    try:
        port = uri.port
    except ValueError:
        note(
            f"the port in the {whose}'s uri is not a port.",
            code="PSYNC_S1110",
            hint="Where the password has one of # / ? : @ in it, write it as %23 %2F %3F %3A %40, or use the key password.",
        )
        return None
    return _UriParts(
        hostname=uri.hostname or "",
        port=port,
        username=unquote(uri.username or ""),
        password=unquote(uri.password or ""),
        database=unquote(uri.path.lstrip("/")),
        connect_timeout=parse_qs(uri.query).get("connect_timeout", [None])[0],
    )
