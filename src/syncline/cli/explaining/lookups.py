"""PURE: the parameter lookups that the rows of a source feed, and a user's explanation that rests on them."""

from __future__ import annotations

from collections.abc import Sequence

from syncline.protocol.requests import StreamsRequest
from syncline.replication.row_reading import TableRows
from syncline.sync_config import CompiledPlan
from syncline.sync_config.explain import ConnectionExplanation, explain_connection
from syncline.sync_config.plan import ConnectionData, TablePattern

__all__ = ["Lookups", "lookup_patterns"]


def lookup_patterns(plan: CompiledPlan) -> list[TablePattern]:
    """The tables that queries look things up in; those with a wildcard are all there, for which tables match is not known yet."""
    return [
        pattern
        for pattern in plan.table_patterns
        if "%" in pattern.schema + pattern.name or plan.table_work(pattern.schema, pattern.name, (), "")[1]
    ]


class Lookups:
    """What bucket storage would have under each lookup, from rows that were read just now.

    `cut_tables` are those of which only a part was read: lookups over them may lack entries.
    """

    def __init__(self, plan: CompiledPlan, tables: Sequence[TableRows]) -> None:
        self._plan = plan
        self._outputs: dict[str, list[str]] = {}
        self.cut_tables: list[str] = []
        for table in tables:
            if not plan.table_work(table.schema, table.name, table.columns, "")[1]:
                continue
            if table.is_cut:
                self.cut_tables.append(f"{table.schema}.{table.name}")
            for result in plan.row_evaluator(table.schema, table.name, table.columns, "").batch(table.rows):
                for entry in result.lookups:
                    self._outputs.setdefault(entry.lookup, []).append(entry.output)

    def explain(self, user: ConnectionData, streams: StreamsRequest | None) -> ConnectionExplanation:
        """Which buckets the user has, and through what. Raises LimitExceeded far beyond what a service allows."""
        query = explain_connection(self._plan, user, streams)
        try:
            wanted = next(query)
            while True:
                wanted = query.send({name: self._outputs.get(name, ()) for name in wanted})
        except StopIteration as stop:
            return stop.value
