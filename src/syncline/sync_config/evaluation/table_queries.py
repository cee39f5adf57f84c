"""Everything that one source table contributes to, with names and sources worked out: the input of both row evaluators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import ColumnValue, Expression, walk
from syncline.sync_config.compiler.model import BucketSource, LookupIndex, OutputColumn, RowQuery
from syncline.sync_config.evaluation.context import TableContext

__all__ = [
    "TableLookup",
    "TableQuery",
    "fill_one_bucket",
    "output_columns",
    "reads_expansions",
    "table_lookups",
    "table_queries",
]


@dataclass(frozen=True, slots=True)
class TableQuery:
    """A row query in one bucket source. `outputs` are the columns that this table really has, in order; the last of a name wins."""

    table: TableContext
    query: RowQuery
    bucket: str  # name up to the partition values
    object_type: str
    outputs: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class TableLookup:
    """A lookup index that the table feeds."""

    table: TableContext
    index: LookupIndex
    name: str  # up to the key values


def table_queries(
    sources: Iterable[BucketSource], schema: str, name: str, columns: Sequence[str], bucket_prefix: str
) -> list[TableQuery]:
    """The row queries over a table, in the order of the bucket sources."""
    found: list[TableQuery] = []
    for source in sources:
        for query in source.queries:
            if query.table.pattern.matches(schema, name):
                table = TableContext(schema, name, columns, query.table.pattern)
                found.append(
                    TableQuery(
                        table,
                        query,
                        bucket_prefix + source.name,
                        query.object_type or name,
                        output_columns(query.columns, table),
                    )
                )
    return found


def table_lookups(
    lookups: Iterable[tuple[LookupIndex, str]], schema: str, name: str, columns: Sequence[str]
) -> list[TableLookup]:
    """The lookup indexes over a table."""
    return [
        TableLookup(TableContext(schema, name, columns, index.table.pattern), index, lookup)
        for index, lookup in lookups
        if index.table.pattern.matches(schema, name)
    ]


def fill_one_bucket(queries: Iterable[TableQuery]) -> bool:
    """Whether two of the queries can put the same row into the same bucket."""
    places = [(query.bucket, query.object_type) for query in queries]
    return len(set(places)) < len(places)


def output_columns(columns: Iterable[OutputColumn], table: TableContext) -> tuple[tuple[str, Expression], ...]:
    """Result columns with `*` spelled out; a plain column that the table does not have is left out (reference 2.1 and 8.2)."""
    outputs: dict[str, Expression] = {}
    for column in columns:
        if column.fills_in:
            for name in table.columns:
                if not name.startswith("_"):
                    outputs.setdefault(name, ColumnValue(0, name))
        elif column.name is None or column.value is None:
            outputs.update((name, ColumnValue(0, name)) for name in table.columns)
        elif not _is_missing(column.value, table):
            outputs[column.name] = column.value
    return tuple(outputs.items())


def _is_missing(value: Expression, table: TableContext) -> bool:
    return isinstance(value, ColumnValue) and value.source == 0 and table.position(value.name) is None


def reads_expansions(expressions: Iterable[Expression]) -> bool:
    """Whether a value depends on more than the table's row."""
    return any(
        isinstance(part, ColumnValue) and part.source != 0 for expression in expressions for part in walk(expression)
    )
