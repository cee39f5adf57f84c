"""Queries as polars data frames."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, overload

from syncline.client.blocking.database import SyncDatabase as BlockingDatabase
from syncline.client.frames.columns import FrameColumn, Kind, read_frame
from syncline.client.rows import Parameters

if TYPE_CHECKING:
    import polars as pl

    from syncline.client.database import SyncDatabase

__all__ = ["to_polars"]


@overload
def to_polars(
    database: SyncDatabase, sql: str, parameters: Parameters | None = None
) -> Coroutine[Any, Any, pl.DataFrame]: ...
@overload
def to_polars(database: BlockingDatabase, sql: str, parameters: Parameters | None = None) -> pl.DataFrame: ...
def to_polars(database: SyncDatabase | BlockingDatabase, sql: str, parameters: Parameters | None = None) -> Any:
    """The rows of a query as a frame. Raises ClientError for columns of one name, and apsw.Error."""
    return read_frame(database, sql, parameters, _frame)


def _frame(columns: list[FrameColumn]) -> pl.DataFrame:
    import polars as pl  # an extra: whoever asks for a frame has it

    dtypes: dict[Kind, Any] = {
        Kind.TEXT: pl.String,
        Kind.INTEGER: pl.Int64,
        Kind.REAL: pl.Float64,
        Kind.BOOLEAN: pl.Boolean,
        Kind.UTC_TIME: pl.Datetime("us", "UTC"),
        Kind.LOCAL_TIME: pl.Datetime("us"),
    }
    return pl.DataFrame([pl.Series(column.name, column.values, dtype=dtypes[column.kind]) for column in columns])
