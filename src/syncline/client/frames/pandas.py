"""Queries as pandas data frames."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, overload

from syncline.client.blocking.database import SyncDatabase as BlockingDatabase
from syncline.client.frames.columns import FrameColumn, Kind, read_frame
from syncline.client.rows import Parameters

if TYPE_CHECKING:
    import pandas as pd

    from syncline.client.database import SyncDatabase

__all__ = ["to_pandas"]

_DTYPES = {
    Kind.TEXT: "string",
    Kind.INTEGER: "Int64",
    Kind.REAL: "Float64",
    Kind.BOOLEAN: "boolean",
    Kind.UTC_TIME: "datetime64[us, UTC]",
    Kind.LOCAL_TIME: "datetime64[us]",
}


@overload
def to_pandas(
    database: SyncDatabase, sql: str, parameters: Parameters | None = None
) -> Coroutine[Any, Any, pd.DataFrame]: ...
@overload
def to_pandas(database: BlockingDatabase, sql: str, parameters: Parameters | None = None) -> pd.DataFrame: ...
def to_pandas(database: SyncDatabase | BlockingDatabase, sql: str, parameters: Parameters | None = None) -> Any:
    """The rows of a query as a frame with pandas' nullable types: NULL is `pd.NA` in every column, and integers stay integers.

    Raises ClientError for columns of one name, and apsw.Error.
    """
    return read_frame(database, sql, parameters, _frame)


def _frame(columns: list[FrameColumn]) -> pd.DataFrame:
    import pandas as pd  # an extra: whoever asks for a frame has it

    return pd.DataFrame(
        {column.name: pd.Series(column.values, dtype=_DTYPES[column.kind]) for column in columns},  # pyright: ignore[reportArgumentType] - every text in _DTYPES is a dtype
        copy=False,
    )
