"""Makes the streams of one bucket definition: one for each priority that its buckets can have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import ColumnValue
from syncline.sync_config.compiler.model import (
    BucketSource,
    CompiledStream,
    OutputColumn,
    Querier,
    QueryOrigin,
    RowQuery,
    RowTable,
)
from syncline.sync_config.document import DefinitionDocument
from syncline.sync_config.document.model import LOWEST_PRIORITY
from syncline.sync_config.migration.comments import sql_comments
from syncline.sync_config.migration.document_text import QueryEntry, StreamEntry
from syncline.sync_config.migration.notes import Remarks
from syncline.sync_config.migration.queries import write_query
from syncline.sync_config.migration.refusal import CannotMigrate
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.problems import Problem
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.schema import SourceSchema
from syncline.sync_config.sql.printer import query_lines

__all__ = ["Check", "DefinitionWriter", "Refuse"]

ONE_LINE_MAX = 100  # characters of a query that is written in one line

Check = Callable[[str], Sequence[Problem]]
"""Compiles a query as a stream would have it, and gives its warnings. Raises CannotMigrate where streams do not take it."""
Refuse = Callable[[CannotMigrate, QueryText], None]
"""Reports what cannot be migrated, at a query of the sync rules."""


@dataclass(frozen=True, slots=True)
class DefinitionWriter:
    """Writes the streams of one definition, which compiled to `stream` and `buckets`."""

    definition: DefinitionDocument
    stream: CompiledStream
    buckets: BucketSource
    fixed_json: bool
    schema: SourceSchema | None
    remarks: Remarks

    def streams(self, taken: Iterable[str], comments: Sequence[str], check: Check, refuse: Refuse) -> list[StreamEntry]:
        """The streams, with names that are not `taken` but for the definition's own."""
        by_priority: dict[int, list[Querier]] = {}
        for querier, _ in self.stream.queriers:
            priority = self.stream.definition.priority if querier.priority is None else querier.priority
            by_priority.setdefault(priority, []).append(querier)
        self.remarks.overlapping = self._has_overlapping_queries()
        names = _names(self.definition.name, list(by_priority), set(taken))
        written: list[StreamEntry] = []
        for (priority, queriers), name in zip(by_priority.items(), names, strict=True):
            origin = f'From the bucket definition "{self.definition.name}"'
            origin += f", parameter queries of priority {priority}." if len(by_priority) > 1 else "."
            above = [*comments, origin] if not written else [origin]
            written.append(StreamEntry(name, self._settings(priority), self._queries(queriers, check, refuse), above))
        return written

    def _has_overlapping_queries(self) -> bool:
        """Whether two data queries fill the same table of the client from the same table, with different columns."""
        places = {(rows.table.pattern, rows.object_type) for rows in self.buckets.queries}
        return len({(rows.table.pattern, rows.object_type, rows.columns) for rows in self.buckets.queries}) > len(
            places
        )

    def _settings(self, priority: int) -> list[str]:
        settings = ["auto_subscribe: true"]
        if priority != LOWEST_PRIORITY or self.definition.priority is not None:
            settings.append(f"priority: {priority}")
        if self.definition.accept_dangerous:
            settings.append("accept_potentially_dangerous_queries: true")
        return settings

    def _queries(self, queriers: Sequence[Querier], check: Check, refuse: Refuse) -> list[QueryEntry]:
        """Each data query for each parameter query; equal ones once."""
        found: dict[str, list[str]] = {}
        explained: set[QueryText] = set()
        for querier in queriers:
            for rows in self.buckets.queries:
                origins = self._origins(querier, rows)
                sql = self._query(querier, rows, origins, check, refuse)
                if sql is not None:
                    own = [
                        line for text in origins.values() if text not in explained for line in sql_comments(text.sql)
                    ]
                    explained.update(origins.values())
                    several = len(self.stream.queriers) * len(self.buckets.queries) > 1
                    place = [" and ".join(origins).capitalize() + ":"] if several else []
                    found.setdefault(sql, [*place, *own])
        return [QueryEntry(sql, comments) for sql, comments in found.items()]

    def _query(
        self, querier: Querier, rows: RowQuery, origins: dict[str, QueryText], check: Check, refuse: Refuse
    ) -> str | None:
        try:
            return self._checked_query(querier, rows, check)
        except CannotMigrate as exc:
            parameters, data = _by_kind(origins)
            refuse(exc, data if parameters is None or not self._is_refused(querier, check) else parameters)
            return None

    def _checked_query(self, querier: Querier, rows: RowQuery, check: Check) -> str:
        select = write_query(querier, rows, fixed_json=self.fixed_json, schema=self.schema, remarks=self.remarks)
        sql = _layout(query_lines(select))
        self.remarks.warnings.update((problem.kind, problem.message) for problem in check(sql))
        return sql

    def _is_refused(self, querier: Querier, check: Check) -> bool:
        """Whether the parameters cannot even be compared with a plain column."""
        column = ColumnValue(0, "id")
        table = RowTable(TablePattern("public", "plain_table"), (), ())
        rows = RowQuery(
            table, table.pattern.name, (OutputColumn("id", column),), (column,) * len(querier.instantiation)
        )
        try:
            self._checked_query(querier, rows, check)
        except CannotMigrate:
            return True
        return False

    def _origins(self, querier: Querier, rows: RowQuery) -> dict[str, QueryText]:
        """The queries of the definition that both come from, by what they are called."""
        origins = self.stream.origins
        found = (origins.queriers.get(querier), origins.rows[self.buckets.name, rows])
        firsts = [next(iter(origin)) for origin in found if origin]
        return {origin.label: self._text_of(origin) for origin in firsts}

    def _text_of(self, origin: QueryOrigin) -> QueryText:
        kind, _, number = origin.label.rpartition(" ")
        texts = self.definition.parameters if kind == "parameter query" else self.definition.data
        return texts[int(number) - 1]


def _by_kind(origins: dict[str, QueryText]) -> tuple[QueryText | None, QueryText]:
    """The parameter query, if there is one, and the data query."""
    parameters = [text for label, text in origins.items() if label.startswith("parameter")]
    (data,) = (text for label, text in origins.items() if label.startswith("data"))
    return (parameters[0] if parameters else None), data


def _names(name: str, priorities: Sequence[int], taken: set[str]) -> list[str]:
    """The definition's name for a single stream; else one for each priority."""
    if len(priorities) == 1:
        return [name]
    names: list[str] = []
    for priority in priorities:
        candidate = f"{name}_priority_{priority}"
        while candidate in taken:
            candidate += "_"
        taken.add(candidate)
        names.append(candidate)
    return names


def _layout(lines: Sequence[str]) -> str:
    """One line, or one for each clause."""
    if sum(len(line) + 1 for line in lines) <= ONE_LINE_MAX:
        return " ".join(lines)
    return "\n".join(f"  {line}" if line.startswith("AND ") else line for line in lines)
