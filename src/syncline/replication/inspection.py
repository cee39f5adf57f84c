"""What administrators ask of a source, beside replication: is it set up, which tables has it, how is the slot. Nothing here changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from syncline.errors import SynclineError

__all__ = [
    "SQL_RESULT_BYTES_MAX",
    "SQL_RESULT_ROWS_MAX",
    "SQL_TIMEOUT_S",
    "AnswerTooLarge",
    "SlotReport",
    "SourceColumn",
    "SourceInspector",
    "SourceTable",
    "SqlResult",
    "SqlScalar",
]

SQL_RESULT_ROWS_MAX = 1000  # rows of one answer to execute-sql
SQL_RESULT_BYTES_MAX = 1024 * 1024  # bytes of the values in it
SQL_TIMEOUT_S = 10.0  # seconds that the source may take for one question

SqlScalar = str | int | float | bool | None


class AnswerTooLarge(SynclineError):
    """A query of an administrator returned more than one answer may hold."""

    code = "PSYNC_S1120"
    status = 400


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column as the source declares it. `sqlite_type` is the flag of the admin API: 1 blob, 2 text, 4 integer, 8 real."""

    name: str
    type_name: str  # with length or precision: numeric(20,6)
    short_type_name: str  # as in the catalog, arrays with []: int4[]
    sqlite_type: int


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table of the source, published or not. `problems` are those of the table itself: (level, text), level warning or fatal."""

    schema: str
    name: str
    columns: tuple[SourceColumn, ...]
    key_columns: tuple[str, ...]
    problems: tuple[tuple[str, str], ...] = ()
    is_published: bool = True
    is_readable: bool = True  # the role may SELECT from it
    is_partitioned: bool = False  # rows are in its partitions
    hides_rows: bool = False  # from the role, by row-level security


class SlotReport(NamedTuple):
    """How a replication slot is. Sizes in bytes; None where the source sets no limit or does not tell."""

    lag_bytes: int | None  # of log between what was acknowledged and the source's head
    wal_status: str | None  # reserved, extended, unreserved or lost
    safe_wal_size: int | None  # that may still be written before the slot is in danger
    max_slot_wal_keep_size: int | None


@dataclass(frozen=True, slots=True)
class SqlResult:
    """Answer to a query of an administrator."""

    columns: Sequence[str]
    rows: Sequence[Sequence[SqlScalar]]


class SourceInspector(Protocol):
    """Raises SourceUnavailable (or SourceNotReady, where the source refuses us) when the source cannot be asked."""

    async def problems(self) -> list[str]:
        """Why the source cannot be replicated at present, each with its code; empty where it can."""
        ...

    async def tables(self) -> list[SourceTable]:
        """All tables but the system's and those of bucket storage, by schema and name."""
        ...

    async def slots(self, names: Sequence[str]) -> dict[str, SlotReport]:
        """How these replication slots are; one that is not there is absent."""
        ...

    async def run_sql(self, query: str, arguments: Sequence[SqlScalar]) -> SqlResult:
        """Run one statement in a read-only transaction, for an administrator; parameters are `$1` and so on.

        Raises SourceError with the source's words where it refuses the statement, AnswerTooLarge above SQL_RESULT_ROWS_MAX rows or
        SQL_RESULT_BYTES_MAX bytes.
        """
        ...
