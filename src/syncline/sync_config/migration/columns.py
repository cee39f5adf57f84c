"""The select list of a stream's query, from the columns of a data query.

The `*` of sync rules leaves out columns that begin with `_`, and keeps what other columns of the query set (sync config reference, 8.2).
The `*` of streams has all columns, and columns after it overwrite: so it stands first here, and is spelled out where the source is
known to have such columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from syncline.sync_config.compiler.expressions import Apply, ColumnValue, Expression, RowMeta, literal
from syncline.sync_config.compiler.model import OutputColumn
from syncline.sync_config.migration.expressions import NOWHERE, ExpressionWriter, reads_rows
from syncline.sync_config.sql.syntax import ResultColumn, Star

__all__ = ["select_list"]


def select_list(
    columns: Sequence[OutputColumn], writer: ExpressionWriter, known: frozenset[str] | None
) -> tuple[ResultColumn, ...]:
    """The columns of source 0. `known` are the columns that its tables have; None where the source is not known."""
    explicit = [
        (column.name, column.value) for column in columns if column.name is not None and column.value is not None
    ]
    if len(explicit) == len(columns):
        return tuple(_explicit(_anchored(explicit), writer))
    named = [name for name, _ in explicit]
    if known is not None and any(name.startswith("_") for name in known):
        shown = sorted((name for name in known if not name.startswith("_")), key=lambda name: (name != "id", name))
        star = [_column(name, ColumnValue(0, name), writer) for name in shown]
    else:
        star = [ResultColumn(Star(NOWHERE, writer.qualifier), None, NOWHERE)]
        shown = named
    others = [
        (name, value)
        for name, value in explicit
        if value != ColumnValue(0, name) or name.startswith("_") or named.count(name) > 1 or name not in shown
    ]
    writer.remarks.star_unsure |= known is None
    return (*star, *_explicit(others, writer))


def _explicit(columns: Iterable[tuple[str, Expression]], writer: ExpressionWriter) -> list[ResultColumn]:
    return [_column(name, value, writer) for name, value in columns]


def _column(name: str, value: Expression, writer: ExpressionWriter) -> ResultColumn:
    alias = None if isinstance(value, ColumnValue) and value.name == name else name
    return ResultColumn(writer.value(value), alias, NOWHERE)


def _anchored(columns: list[tuple[str, Expression]]) -> list[tuple[str, Expression]]:
    """A query of constants alone does not say of which table it is: then the first one mentions the table without using it."""
    if any(reads_rows(value) for _, value in columns):
        return columns
    (name, value), *others = columns
    return [(name, Apply("iif", (literal(1), value, RowMeta(0, "table_name")))), *others]
