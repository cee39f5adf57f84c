"""Watches of a `select()`: the rows again after each change of one of its tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData

from syncline.client.database import SyncDatabase
from syncline.client.sqlalchemy.dialect import SynclineDialect
from syncline.client.watch import THROTTLE_S

__all__ = ["statement_and_parameters", "watch"]

_DIALECT = SynclineDialect(paramstyle="named")


def statement_and_parameters(statement: sa.Select[*tuple[Any, ...]]) -> tuple[str, dict[str, Any]]:
    """SQL and named parameters of a select, for any method of the database: `db.watch(*statement_and_parameters(…))`."""
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    processors: Any = getattr(compiled, "_bind_processors", {})
    return str(compiled), {
        name: processors[name](value) if name in processors else value for name, value in compiled.params.items()
    }


async def watch(
    database: SyncDatabase, statement: sa.Select[*tuple[Any, ...]], *, throttle_s: float = THROTTLE_S
) -> AsyncIterator[list[sa.Row[*tuple[Any, ...]]]]:
    """The rows of a select now, and after each change that touches one of its tables; columns have the types of the select.

    Objects of models do not come from here: they belong to a session. Read them in one, whenever this yields.
    """
    sql, parameters = statement_and_parameters(statement)
    columns = list(statement.selected_columns)
    keys = [str(column.key) for column in columns]
    processors = [column.type.dialect_impl(_DIALECT).result_processor(_DIALECT, None) for column in columns]
    result = SimpleResultMetaData(keys)
    async for rows in database.watch(sql, parameters, throttle_s=throttle_s):
        plain = [
            tuple(value if process is None else process(value) for process, value in zip(processors, row, strict=True))
            for row in rows
        ]
        told: list[sa.Row[*tuple[Any, ...]]] = [*IteratorResult(result, iter(plain)).all()]
        yield told
