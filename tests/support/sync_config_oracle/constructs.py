"""Names the constructs of a case, so that a run can say how often each of them occurred."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.support.sync_config_oracle.cases import Case
from tests.support.sync_config_oracle.conditions_seen import condition_constructs
from tests.support.sync_config_oracle.expressions_seen import Kinds, expression_constructs
from tests.support.sync_config_oracle.query_tree import (
    Derived,
    Elements,
    NamedSelect,
    Output,
    Select,
    Star,
    Stream,
    TableSource,
)
from tests.support.sync_config_oracle.tree import ColumnOf, Parameter, UserId, walk

__all__ = ["CONSTRUCTS", "constructs_of"]

_CONSTRUCTS = """
several streams · several queries in a stream · a stream that is not subscribed by default · explicit subscription
explicit subscription without parameters · defaults declined · two subscriptions of a stream
global WITH · WITH of a stream · FROM a WITH name · IN a WITH name
JOIN … ON · comma join · subquery in FROM · subquery in FROM with column names · selection from a subquery
a table that only has to have a row · table used twice
json_each over a row · json_each over connection data
SELECT * · SELECT t.* · explicit columns · expression as column · id that is an expression · unqualified columns
table alias · named schema · table wildcard · schema wildcard · table_name() · table_suffix() · schema()
column that only some tables have
row = auth.user_id() · row = auth.parameter(key) · row = auth.parameter($.path)
row = connection.parameter · row = subscription.parameter · row = row of another table
parameters() · equality of expressions · filter of the connection alone
IN (SELECT …) · IN (SELECT …) inside of IN (SELECT …) · connection value IN (SELECT …) · constant IN (SELECT …)
row value IN auth array · row value IN connection array · row value IN subscription array
connection value IN row array · row value IN own or literal array · NOT IN JSON array · constant IN array of the connection
row && connection · row && literal · row && other row
IN ARRAY · IN ROW · NOT IN ARRAY · NOT IN ROW · the same value constrained twice · value = two values of another row
OR across sources · OR of filters · AND inside of OR · OR inside of AND · NOT · NOT over AND or OR
BETWEEN · NOT BETWEEN · CASE · CASE of a value · CASE without ELSE
IS NULL · IS NOT NULL · IS TRUE · IS NOT TRUE · IS FALSE · IS NOT FALSE
= · != · <> · < · <= · > · >= · + · - · * · / · % · || · & · | · << · >> · unary + · -> · ->> · CAST(…) · ::
to text · to integer · to numeric · to real · to blob
upper · lower · length · substring · instr · hex · base64 · ifnull · iif · typeof · json_extract · json_array_length · json_keys
NULL literal · truth literal · number compared with text · integer compared with real
NULL in a row · boolean in a row · number beyond 2^53 in a row
insert · update · key move · delete
"""
CONSTRUCTS = tuple(name for line in _CONSTRUCTS.strip().splitlines() for name in line.split(" · "))
"""What a run counts; each must occur in some of its cases."""


def constructs_of(case: Case) -> set[str]:
    """The constructs that occur in a case, each once."""
    return set(_found(case))


def _found(case: Case) -> Iterator[str]:
    yield from _of_users(case)
    yield from _of_rows(case)
    kinds = Kinds(case)
    if len(case.config.streams) > 1:
        yield "several streams"
    if any(part in case.config.named for stream in case.config.streams for part in walk(stream.queries)):
        yield "global WITH"
    for stream in case.config.streams:
        yield from _of_stream(case, stream)
        for query in stream.queries:
            yield from _of_query(query)
            for part in walk(query):
                if isinstance(part, Select):
                    yield from _of_select(part)
                yield from condition_constructs(part)
                yield from expression_constructs(part, kinds)


def _of_users(case: Case) -> Iterator[str]:
    for user in case.users:
        if not user.include_defaults:
            yield "defaults declined"
        streams = [stream for stream, _ in user.subscriptions]
        if streams:
            yield "explicit subscription"
        if len(set(streams)) < len(streams):
            yield "two subscriptions of a stream"
        if any(parameters is None for _, parameters in user.subscriptions):
            yield "explicit subscription without parameters"


def _of_rows(case: Case) -> Iterator[str]:
    values = [value for rows in case.rows.values() for row in rows for value in row.values()]
    if any(value is None for value in values):
        yield "NULL in a row"
    if any(isinstance(value, bool) for value in values):
        yield "boolean in a row"
    if any(isinstance(value, int) and abs(value) > 2**53 for value in values):
        yield "number beyond 2^53 in a row"
    for change in case.changes:
        yield change.kind


def _of_stream(case: Case, stream: Stream) -> Iterator[str]:
    if len(stream.queries) > 1:
        yield "several queries in a stream"
    if not stream.auto_subscribe:
        yield "a stream that is not subscribed by default"
    if stream.named and any(part in stream.named for part in walk(stream.queries)):
        yield "WITH of a stream"
    sources = [part for query in stream.queries for part in walk(query) if isinstance(part, TableSource)]
    tables = [table for source in sources for table in case.schema.matching(source.schema or "public", source.name)]
    if len(set(tables)) < len(tables):
        yield "table used twice"


def _of_query(query: Select) -> Iterator[str]:
    first = query.sources[0].relation
    if isinstance(first, Derived):
        yield "selection from a subquery"
    for column in query.columns:
        if isinstance(column, Star):
            yield "SELECT t.*" if column.qualified else "SELECT *"
        elif not isinstance(column.value, ColumnOf):
            yield "id that is an expression" if column.name == "id" else "expression as column"
        else:
            yield "explicit columns"
    if query.where is not None:
        yield from _loose(query)


def _loose(query: Select) -> Iterator[str]:
    """A table in FROM that no condition compares with anything else."""
    for source in query.sources[1:]:
        uid = source.relation.uid
        if source.comma and isinstance(source.relation, TableSource):
            conditions = [query.where, *(other.condition for other in query.sources)]
            using = [part for part in _conjuncts(conditions) if uid in _sources(part)]
            if using and all(_sources(part) == {uid} for part in using):
                yield "a table that only has to have a row"


def _conjuncts(conditions: Sequence[object]) -> Iterator[object]:
    for condition in conditions:
        parts = getattr(condition, "parts", ()) if getattr(condition, "operator", "") == "AND" else ()
        if parts:
            yield from _conjuncts(list(parts))
        elif condition is not None:
            yield condition


def _sources(part: object) -> set[int]:
    connection = {-1 for inner in walk(part) if isinstance(inner, (UserId, Parameter))}
    return {inner.source for inner in walk(part) if isinstance(inner, ColumnOf)} | connection


def _of_select(select: Select) -> Iterator[str]:
    if select.bare:
        yield "unqualified columns"
    for number, source in enumerate(select.sources):
        if number:
            yield "comma join" if source.comma else "JOIN … ON"
        relation = source.relation
        if isinstance(relation, TableSource):
            yield from _of_table(relation)
        elif isinstance(relation, Elements):
            yield f"json_each over {'connection data' if -1 in _sources(relation.argument) else 'a row'}"
        elif isinstance(relation.target, NamedSelect):
            yield "FROM a WITH name"
        else:
            yield "subquery in FROM with column names" if relation.columns else "subquery in FROM"
    for column in select.columns:
        if isinstance(column, Output) and isinstance(column.value, ColumnOf):
            yield "explicit columns"


def _of_table(table: TableSource) -> Iterator[str]:
    if table.alias is not None:
        yield "table alias"
    if table.schema is not None:
        yield "schema wildcard" if table.schema.endswith("%") else "named schema"
    if table.name.endswith("%"):
        yield "table wildcard"
