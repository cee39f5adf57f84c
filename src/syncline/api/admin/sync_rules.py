"""What a sync config holds and which tables of the source it means, as the admin API tells it (protocol reference, 7.2 and 7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from syncline.replication.inspection import SourceTable
from syncline.sync_config import CompiledPlan
from syncline.sync_config.compiler.model import OutputColumn, RowQuery
from syncline.sync_config.explain.sql_text import sql_text
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.schema import SourceSchema

__all__ = ["DEFAULT_SCHEMA", "SourceTables", "definition_names", "described_plan", "source_schema", "table_entries"]

DEFAULT_SCHEMA = "public"
STREAMS_EDITION = 3


@dataclass(frozen=True, slots=True)
class SourceTables:
    """Tables of the source. Where it could not be asked, `failure` says why and there are none; `failed_at` is the time, as ISO text."""

    tables: Sequence[SourceTable] = ()
    failure: str = ""
    failed_at: str = ""


def source_schema(tables: Sequence[SourceTable]) -> SourceSchema:
    """The tables for the compiler, which then warns of those that are not there."""
    return SourceSchema({(table.schema, table.name): frozenset(c.name for c in table.columns) for table in tables})


def definition_names(plan: CompiledPlan) -> list[str]:
    """`stream NAME` for streams; bucket definitions have their plain names."""
    prefix = "stream " if plan.options.edition >= STREAMS_EDITION else ""
    return [f"{prefix}{stream.name}" for stream in plan.streams]


def table_entries(plan: CompiledPlan, source: SourceTables) -> list[tuple[TablePattern, list[dict[str, Any]]]]:
    """For each pattern of a config the tables that it means, as the API shows tables."""
    return [(pattern, _tables_of(pattern, plan, source)) for pattern in plan.table_patterns]


def described_plan(plan: CompiledPlan, source: SourceTables) -> dict[str, Any]:
    """What `validate` and `current` show of a config that can be used."""
    source_tables: list[dict[str, Any]] = []
    for pattern, tables in table_entries(plan, source):
        entry: dict[str, Any] = {
            "schema": pattern.schema,
            "pattern": pattern.name,
            "wildcard": _is_wildcard(pattern),
        }
        source_tables.append(entry | ({"tables": tables} if _is_wildcard(pattern) else {"table": tables[0]}))
    return {
        "valid": True,
        "bucket_definitions": definition_names(plan),
        "source_tables": source_tables,
        "data_tables": _data_tables(plan),
    }


def _tables_of(pattern: TablePattern, plan: CompiledPlan, source: SourceTables) -> list[dict[str, Any]]:
    matching = [table for table in source.tables if pattern.matches(table.schema, table.name)]
    if matching:
        return [_table(table, pattern, plan) for table in matching]
    if source.failure:
        errors = [{"level": "fatal", "message": source.failure, "ts": source.failed_at}]
    else:
        errors = [{"level": "warning", "message": f'Table "{pattern.schema}"."{pattern.name}" was not found.'}]
    return (
        []
        if _is_wildcard(pattern) and not source.failure
        else [_entry(pattern, pattern.schema, pattern.name, [], plan, errors)]
    )


def _table(table: SourceTable, pattern: TablePattern, plan: CompiledPlan) -> dict[str, Any]:
    errors = [{"level": level, "message": text} for level, text in table.problems]
    return _entry(pattern, table.schema, table.name, list(table.key_columns), plan, errors)


def _entry(
    pattern: TablePattern,
    schema: str,
    name: str,
    key_columns: list[str],
    plan: CompiledPlan,
    errors: list[dict[str, Any]],
) -> dict[str, Any]:
    queries, lookups = plan.table_work(schema, name, key_columns, "")
    return {
        "schema": schema,
        "name": name,
        **({"pattern": pattern.name} if _is_wildcard(pattern) else {}),
        "replication_id": key_columns,
        "data_queries": bool(queries),
        "parameter_queries": bool(lookups),
        "errors": errors,
    }


def _is_wildcard(pattern: TablePattern) -> bool:
    return pattern.schema.endswith("%") or pattern.name.endswith("%")


def _data_tables(plan: CompiledPlan) -> dict[str, list[dict[str, str]]]:
    """Queries by the name that their rows have on devices."""
    found: dict[str, list[dict[str, str]]] = {}
    for source in plan.bucket_sources:
        for query in source.queries:
            entries = found.setdefault(query.device_table, [])
            entry = {"query": _query_text(query)}
            if entry not in entries:
                entries.append(entry)
    return found


def _query_text(query: RowQuery) -> str:
    """The query as SQL, for people: what it selects, from where, and which conditions rows have to meet."""
    columns = ", ".join(_column_text(column) for column in query.columns)
    where = " AND ".join(sql_text(condition) for condition in query.table.filters)
    text = f"SELECT {columns} FROM {query.table.pattern.name}"  # noqa: S608 - shown, never run
    return f"{text} WHERE {where}" if where else text


def _column_text(column: OutputColumn) -> str:
    if column.value is None:
        return "*"
    text = sql_text(column.value)
    return text if column.name in (None, text) else f"{text} AS {column.name}"
