"""Connecting to the source, and turning libpq's errors into ours."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from syncline.errors import SourceError, SourceNotReady, SourceUnavailable

__all__ = ["PUBLICATION_HINT", "Row", "connect", "source_errors"]

Row = tuple[Any, ...]
PUBLICATION_HINT = "Run on the source, as the owner of the tables:\nCREATE PUBLICATION powersync FOR ALL TABLES;"

# Texts must not depend on the server's settings: the converters rely on these forms.
# A peer that is gone without a word is noticed within about ten seconds, also while we wait for an answer.
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
    except psycopg.errors.InsufficientPrivilege as exc:
        raise SourceNotReady(
            f"The source refuses the role: {_first_line(exc)}",
            code="PSYNC_S1120",
            hint="The role needs two rights:\nALTER ROLE … WITH REPLICATION;\nGRANT SELECT ON ALL TABLES IN SCHEMA public TO …;",
        ) from exc
    except (psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue) as exc:
        if "publication" in str(exc):
            raise SourceNotReady(_first_line(exc), code="PSYNC_S1141", hint=PUBLICATION_HINT) from exc
        raise SourceUnavailable(f"The source answered: {_first_line(exc)}") from exc
    except psycopg.Error as exc:
        raise SourceUnavailable(f"The source answered: {_first_line(exc)}") from exc


def _first_line(exc: psycopg.Error) -> str:
    text = str(exc).strip()
    return text.splitlines()[0] if text else type(exc).__name__
