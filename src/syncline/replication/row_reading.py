"""Reading rows of a source for administrators, beside replication: some rows of many tables, or one row by its key. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from syncline.errors import SynclineError
from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.value_format import ValueFormat

__all__ = ["READ_BYTES_MAX", "READ_ROWS_MAX", "READ_TIMEOUT_S", "RowRefused", "RowSource", "TableRows"]

READ_ROWS_MAX = (
    20_000  # rows of one reading, over all tables: they are held in memory, and evaluated for somebody who waits
)
READ_BYTES_MAX = 32 * 1024 * 1024  # bytes of their text
READ_TIMEOUT_S = 20.0  # seconds that one statement of a reading may take


class RowRefused(SynclineError):
    """A row was asked for in a way that the source or its publication does not allow."""

    code = "PSYNC_S2001"
    status = 400


@dataclass(frozen=True, slots=True)
class TableRows:
    """Rows of one table, as replication would decode them. `is_cut`: the table has more than were read."""

    schema: str
    name: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[SyncValue, ...]]
    is_cut: bool = False


class RowSource(Protocol):
    """Raises SourceUnavailable (or SourceNotReady) when the source cannot be asked."""

    async def tables(
        self, patterns: Sequence[TablePattern], formats: Sequence[ValueFormat], *, rows_max: int = READ_ROWS_MAX
    ) -> list[list[TableRows]]:
        """Published rows of all tables that match, as of one moment; once for each format, in the order of `formats`.

        At most `rows_max` rows and READ_BYTES_MAX bytes over all tables, which have equal shares of the rows.
        """
        ...

    async def row(
        self, schema: str, name: str, row_id: str, value_format: ValueFormat, *, column: str = ""
    ) -> TableRows | None:
        """The row whose `column` has this value (by default `id`, else its only key column); None where there is none.

        Raises RowRefused where the table is not published, or the column is not there or cannot have this value.
        """
        ...
