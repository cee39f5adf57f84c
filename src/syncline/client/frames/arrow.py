"""Queries as Arrow tables: for DuckDB, Parquet files, and whatever else reads Arrow."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, overload

from syncline.client.blocking.database import SyncDatabase as BlockingDatabase
from syncline.client.frames.columns import FrameColumn, Kind, read_frame
from syncline.client.rows import Parameters

if TYPE_CHECKING:
    from syncline.client.database import SyncDatabase

__all__ = ["to_arrow"]


@overload
def to_arrow(database: SyncDatabase, sql: str, parameters: Parameters | None = None) -> Coroutine[Any, Any, Any]: ...
@overload
def to_arrow(database: BlockingDatabase, sql: str, parameters: Parameters | None = None) -> Any: ...
def to_arrow(database: SyncDatabase | BlockingDatabase, sql: str, parameters: Parameters | None = None) -> Any:
    """The rows of a query as a `pyarrow.Table`. Raises ClientError for columns of one name, and apsw.Error."""
    return read_frame(database, sql, parameters, _table)


def _table(columns: list[FrameColumn]) -> Any:
    import pyarrow as untyped  # noqa: ICN001 - an extra: whoever asks for a table has it; it has no types to check by

    pa: Any = untyped
    types: dict[Kind, Any] = {
        Kind.TEXT: pa.string(),
        Kind.INTEGER: pa.int64(),
        Kind.REAL: pa.float64(),
        Kind.BOOLEAN: pa.bool_(),
        Kind.UTC_TIME: pa.timestamp("us", tz="UTC"),
        Kind.LOCAL_TIME: pa.timestamp("us"),
    }
    return pa.table({column.name: pa.array(column.values, type=types[column.kind]) for column in columns})
