"""Readable names for parts of a plan: tables, lookups, and the way by which a value is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import Expression
from syncline.sync_config.compiler.model import (
    ElementTable,
    LookupIndex,
    Querier,
    RequestSource,
    RowQuery,
    RowTable,
    ValueSource,
)
from syncline.sync_config.explain.shown_value import ShownValue, name_sql
from syncline.sync_config.explain.sql_text import sql_text
from syncline.sync_config.plan import TablePattern

__all__ = ["LookupText", "contents", "lookup_text", "row_side", "source_names", "table_sql", "through"]

DEFAULT_SCHEMA = "public"


@dataclass(frozen=True, slots=True)
class LookupText:
    """A lookup in words of SQL: the rows of `table` that pass `filters`, found by `keys`, give `outputs`."""

    table: str
    filters: tuple[str, ...]
    keys: tuple[str, ...]
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        by = f" by {', '.join(self.keys)}" if self.keys else ""
        where = f" where {' AND '.join(self.filters)}" if self.filters else ""
        gives = f", gives {', '.join(self.outputs)}" if self.outputs else ", whether there is a row"
        return f"{self.table}{by}{where}{gives}"


def table_sql(pattern: TablePattern) -> str:
    """A table, or the pattern of its name, as a query would write it."""
    name = name_sql(pattern.name)
    return name if pattern.schema == DEFAULT_SCHEMA else f"{name_sql(pattern.schema)}.{name}"


def source_names(table: str, expansions: Sequence[Expression]) -> list[str]:
    """What stands before the dot of columns: the table, then each of its expansions."""
    names = [table]
    for argument in expansions:
        names.append(f"json_each({sql_text(argument, names)})")
    return names


def _of_table(table: RowTable, name: str | None = None) -> list[str]:
    return source_names(table_sql(table.pattern) if name is None else name, table.expansions)


def lookup_text(table: LookupIndex | ElementTable, name: str | None = None) -> LookupText:
    """A lookup; `name` is the table's where a pattern means several."""
    if isinstance(table, LookupIndex):
        names, filters = _of_table(table.table, name), table.table.filters
    else:
        names, filters = [f"json_each({sql_text(table.argument)})"], table.filters
    return LookupText(
        names[0],
        tuple(sql_text(expression, names) for expression in filters),
        tuple(sql_text(key, names) for key in table.keys),
        tuple(sql_text(output, names) for output in table.outputs),
    )


def row_side(query: RowQuery) -> tuple[str, ...]:
    """The partition keys of a row query."""
    names = _of_table(query.table)
    return tuple(sql_text(key, names) for key in query.keys)


def contents(query: RowQuery, values: Sequence[ShownValue]) -> str:
    """Which rows stand in the bucket with these partition values: `todos where todos.done = 0 AND todos.list_id = 'L1'`."""
    names = _of_table(query.table)
    parts = [sql_text(expression, names) for expression in query.table.filters]
    parts = [f"({part})" if " OR " in part else part for part in parts]
    parts += [f"{key} = {value}" for key, value in zip(row_side(query), values, strict=False)]
    return f"{names[0]} where {' AND '.join(parts)}" if parts else f"all {names[0]}"


def through(querier: Querier, source: ValueSource) -> str:
    """The way by which a connection gets a value: `auth.user_id()`, `lists.id found by lists.owner_id = auth.user_id()`."""
    if isinstance(source, RequestSource):
        return sql_text(source.value)
    stage = querier.groups[source.group][source.stage]
    lookup = lookup_text(stage.table)
    output = lookup.outputs[source.output]
    found_by = [f"{key} = {_nested(querier, own)}" for key, own in zip(lookup.keys, stage.keys, strict=True)]
    where = f" where {' AND '.join(lookup.filters)}" if lookup.filters else ""
    return f"{output}{' found by ' if found_by else ''}{' AND '.join(found_by)}{where}"


def _nested(querier: Querier, source: ValueSource) -> str:
    text = through(querier, source)
    return f"({text})" if " found by " in text or " where " in text else text
