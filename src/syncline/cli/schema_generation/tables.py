"""From a sync config and the columns of its source to the tables and streams of a device. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from syncline.cli.schema_generation.expression_types import ValueType, value_type
from syncline.cli.schema_generation.model import ANY_SCALAR, ClientColumn, ClientTable, ClientTables, ValueTypes
from syncline.cli.schema_generation.source_columns import SourceColumn, SourceColumns
from syncline.cli.schema_generation.stream_parameters import client_streams
from syncline.errors import SyncConfigError
from syncline.sync_config.compiler.expressions import ColumnValue, Expression, walk
from syncline.sync_config.compiler.legacy.definitions import compile_definitions
from syncline.sync_config.compiler.legacy.events import compile_events
from syncline.sync_config.compiler.model import BucketSource, CompiledStream, LookupIndex, RowQuery
from syncline.sync_config.compiler.streams import compile_streams
from syncline.sync_config.document import parse_document
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.problems import Problem
from syncline.sync_config.source_text import ProblemList, SourceText

__all__ = ["client_tables", "config_hash"]

Columns = Mapping[str, SourceColumn]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The parts of a compiled config that say what devices get."""

    streams: Sequence[CompiledStream]
    sources: Sequence[BucketSource]
    warnings: Sequence[Problem]


def config_hash(text: str) -> str:
    """`sha256:…` of a sync config; line ends do not count."""
    lines = "\n".join(text.splitlines())
    return f"sha256:{sha256(lines.encode()).hexdigest()}"


def client_tables(text: str, source: SourceColumns | None) -> ClientTables:
    """The tables and streams of a device with this sync config.

    Without `source`, its columns are taken for text, and of a `*` only those are known that the config names elsewhere: notes say so.
    Raises SyncConfigError for a config that cannot be used.
    """
    compiled = _compile(text, source)
    gathered = _Gathered()
    gathered.notes += [f"line {p.line}, column {p.column}: {p.message}" for p in compiled.warnings]
    for query in (query for bucket in compiled.sources for query in bucket.queries):
        for name, columns in _named_tables(query, source, compiled, gathered.notes):
            gathered.add(query.object_type or name, query, columns)
    tables = tuple(table.finished() for table in gathered.tables.values() if table.filled)
    streams = client_streams(compiled.streams, compiled.sources, lambda pattern: _columns(pattern, source))
    notes = tuple(dict.fromkeys(gathered.notes))
    return ClientTables(tables, streams, config_hash(text), source is not None, notes)


def _compile(text: str, source: SourceColumns | None) -> _Compiled:
    """As `compile_sync_config`, but expressions stay readable where the config asks for another engine."""
    problems = ProblemList(SourceText(text))
    schema = source.schema() if source else None
    document = parse_document(text, problems)
    streams, sources = compile_streams(document, problems, schema=schema)
    definitions, definition_sources = compile_definitions(document, problems, schema=schema)
    compile_events(document, problems)
    if problems.any_fatal:
        raise SyncConfigError(problems.in_order())
    return _Compiled([*streams, *definitions], [*sources.values(), *definition_sources.values()], problems.in_order())


def _columns(pattern: TablePattern, source: SourceColumns | None) -> Columns:
    """The columns of all tables that a pattern means; the types of those with one name together."""
    found: dict[str, SourceColumn] = {}
    for table in source.matching(pattern) if source else ():
        for column in table.columns:
            known = found.get(column.name)
            found[column.name] = _joined(known, column) if known else column
    return found


def _joined(one: SourceColumn, other: SourceColumn) -> SourceColumn:
    return SourceColumn(one.name, one.types | other.types, one.declared if one.declared == other.declared else "")


def _named_tables(
    query: RowQuery, source: SourceColumns | None, compiled: _Compiled, notes: list[str]
) -> Iterator[tuple[str, Columns]]:
    """The names of the tables whose rows a query sends, each with its columns."""
    pattern = query.table.pattern
    if source is not None:
        for table in source.matching(pattern):
            yield table.name, {column.name: column for column in table.columns}
        if not source.matching(pattern) and not pattern.name.endswith("%"):
            yield pattern.name, {}
        return
    if pattern.name.endswith("%") and query.object_type is None:
        notes.append(f'The tables that "{pattern.name}" means are not known: they are left out.')
        return
    if any(column.value is None for column in query.columns):
        notes.append(
            f'The columns of * in "{pattern.name}" are not known: only those that the sync config names are there, as text.'
        )
    yield pattern.name, {name: SourceColumn(name, ValueTypes.TEXT, "") for name in _named_columns(pattern, compiled)}


def _named_columns(pattern: TablePattern, compiled: _Compiled) -> list[str]:
    """Columns of a table that the config reads anywhere."""
    parts: list[Expression] = []
    for query in (query for bucket in compiled.sources for query in bucket.queries):
        if query.table.pattern == pattern:
            parts += [*query.keys, *query.table.filters, *query.table.expansions]
            parts += [column.value for column in query.columns if column.value is not None]
    for stream in compiled.streams:
        for stage in (stage for querier, _ in stream.queriers for group in querier.groups for stage in group):
            if isinstance(stage.table, LookupIndex) and stage.table.table.pattern == pattern:
                parts += [*stage.table.keys, *stage.table.outputs, *stage.table.table.filters]
    read = [part for expression in parts for part in walk(expression)]
    return list(dict.fromkeys(part.name for part in read if isinstance(part, ColumnValue) and part.source == 0))


@dataclass(slots=True)
class _Table:
    """A table of the device while its queries are read. `filled`: a row of it can come."""

    name: str
    columns: dict[str, ClientColumn] = field(default_factory=dict[str, ClientColumn])
    filled: bool = False

    def finished(self) -> ClientTable:
        return ClientTable(self.name, tuple(self.columns.values()))


@dataclass(slots=True)
class _Gathered:
    """Tables by their lowered names, for SQLite ignores case; what several queries say of one is put together."""

    tables: dict[str, _Table] = field(default_factory=dict[str, _Table])
    notes: list[str] = field(default_factory=list[str])

    def add(self, name: str, query: RowQuery, columns: Columns) -> None:
        """What one query sends of a table with these columns, as rows of the type `name`."""
        table = self.tables.setdefault(name.lower(), _Table(name))
        if table.name != name:
            self.notes.append(f'"{name}" and "{table.name}" differ in case only: a device has one table for both.')
        found = _outputs(query, columns)
        table.filled = table.filled or bool(found)
        for column, type_ in found.items():
            if column.lower() == "id":
                continue
            known = table.columns.get(column.lower())
            declared = type_.declared if known is None or known.declared == type_.declared else ""
            types = type_.types | (known.types if known else ValueTypes(0))
            table.columns[column.lower()] = ClientColumn(known.name if known else column, types, declared)


def _outputs(query: RowQuery, columns: Columns) -> dict[str, ValueType]:
    """The result columns with their types; the last of a name wins (sync config reference, 2.1), in `*` of sync rules the first (8.2)."""
    found: dict[str, ValueType] = {}
    for column in query.columns:
        if column.name is not None and column.value is not None:
            found[column.name] = value_type(column.value, columns)
            continue
        for name, known in columns.items():
            type_ = ValueType(known.types, known.declared)
            if not column.fills_in:
                found[name] = type_
            elif not name.startswith("_"):
                found.setdefault(name, type_)
    return {name: type_ if type_.types else ValueType(ANY_SCALAR) for name, type_ in found.items()}
