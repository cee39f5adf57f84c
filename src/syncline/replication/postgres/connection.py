"""Connecting to the source, and turning libpq's errors into ours."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from syncline.errors import SourceError, SourceNotReady, SourceUnavailable
from syncline.tls import tls_hint

__all__ = ["PUBLICATION_HINT", "Row", "connect", "server_error", "source_errors"]

Row = tuple[Any, ...]
PUBLICATION_HINT = "Run on the source, as the owner of the tables:\nCREATE PUBLICATION powersync FOR ALL TABLES;"

# Texts must not depend on the server's settings: the converters rely on these forms.
# A peer that is gone without a word is noticed within about ten seconds, also while we wait for an answer.
CONNECT_TIMEOUT_S = 10  # a network that drops packets answers nothing: the next attempt may go through at once
_LIVENESS: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

_SESSION_OPTIONS = (
    "-c DateStyle=ISO -c TimeZone=UTC -c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex"
    " -c row_security=off"  # a filtered copy would silently lack rows: Postgres raises instead
)


async def connect(conninfo: str, *, application_name: str, replication: bool = False) -> psycopg.AsyncConnection[Row]:
    """An autocommit connection whose texts have the forms that `values` reads. Raises SourceUnavailable."""
    parameters = conninfo_to_dict(conninfo)
    options = f"{parameters.get('options') or ''} {_SESSION_OPTIONS}".strip()
    extra: dict[str, Any] = _LIVENESS | ({"replication": "database"} if replication else {})
    extra.setdefault("connect_timeout", parameters.get("connect_timeout", CONNECT_TIMEOUT_S))
    with source_errors():
        return await psycopg.AsyncConnection.connect(
            make_conninfo(
                conninfo, options=options, application_name=application_name, client_encoding="UTF8", **extra
            ),
            autocommit=True,
        )


@contextmanager
def source_errors() -> Generator[None]:
    """Raise errors of the driver as SourceError. Messages of libpq name host and user, never the password."""
    try:
        yield
    except SourceError:
        raise
    except psycopg.Error as exc:
        raise server_error(_first_line(exc), exc.sqlstate or "") from exc


def server_error(text: str, state: str) -> SourceUnavailable | SourceNotReady:
    """The source's refusal as an error of ours. `state` is its SQLSTATE, empty where it could not be asked."""
    if "row-level security" in text:
        return SourceNotReady(
            f"The source hides rows from the role: {text}",
            code="PSYNC_S1145",
            hint="The role has to see all rows of the tables that it replicates:\nALTER ROLE … BYPASSRLS;",
        )
    if state == _INSUFFICIENT_PRIVILEGE:
        return SourceNotReady(
            f"The source refuses the role: {text}",
            code="PSYNC_S1120",
            hint="The role needs two rights:\nALTER ROLE … WITH REPLICATION;\nGRANT SELECT ON ALL TABLES IN SCHEMA public TO …;",
        )
    if hint := tls_hint(text):
        return SourceNotReady(f"The source and we do not agree on TLS: {text}", code="PSYNC_S1120", hint=hint)
    if state in _WRONG_PASSWORD or (not state and any(part in text for part in _REFUSED)):
        return SourceNotReady(
            f"The source refuses to let us in: {text}",
            code="PSYNC_S1120",
            hint="Check user name and password of the connection in the configuration, and pg_hba.conf on the source.",
            refused=True,
        )
    if state in _NO_SUCH_OBJECT and "publication" in text:
        return SourceNotReady(text, code="PSYNC_S1141", hint=PUBLICATION_HINT)
    return SourceUnavailable(f"The source answered: {text}")


_INSUFFICIENT_PRIVILEGE = "42501"
_WRONG_PASSWORD = ("28P01", "28000")  # invalid_password, invalid_authorization_specification
_NO_SUCH_OBJECT = ("42704", "22023")  # undefined_object, invalid_parameter_value
# While connecting, libpq gives texts alone.
_REFUSED = ("password authentication failed", "no password supplied", "no pg_hba.conf entry", 'role "')


def _first_line(exc: psycopg.Error) -> str:
    text = str(exc).strip()
    return text.splitlines()[0] if text else type(exc).__name__
