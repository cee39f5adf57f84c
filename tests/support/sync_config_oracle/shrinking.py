"""Makes a failing case smaller: leaves out streams, queries, conditions, users, changes and rows as long as it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.support.sync_config_oracle.cases import Case
from tests.support.sync_config_oracle.query_tree import Config, Select, Stream
from tests.support.sync_config_oracle.tree import ColumnOf, Logic, Node, RowMeta, walk

__all__ = ["ATTEMPTS_MAX", "shrunk"]

ATTEMPTS_MAX = 400  # cases that are tried for one failure


def shrunk(case: Case, fails: Callable[[Case], bool]) -> Case:
    """A smaller case that still fails."""
    attempts = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _candidates(case):
            attempts += 1
            if attempts > ATTEMPTS_MAX:
                return case
            if fails(candidate):
                case, smaller = candidate, True
                break
    return case


def _candidates(case: Case) -> Iterator[Case]:
    if case.changes:
        yield replace(case, changes=())
    for number in range(len(case.users)):
        if len(case.users) > 1:
            yield replace(case, users=(*case.users[:number], *case.users[number + 1 :]))
    for config in _configs(case.config):
        yield replace(case, config=config)
    for number in range(len(case.changes) - 1, -1, -1):
        yield replace(case, changes=case.changes[:number])
    if not case.changes:
        for table, rows in case.rows.items():
            if rows:
                yield replace(case, rows={**case.rows, table: ()})
        for table, rows in case.rows.items():
            for number in range(len(rows)):
                yield replace(case, rows={**case.rows, table: (*rows[:number], *rows[number + 1 :])})
    yield from _fewer_subscriptions(case)


def _fewer_subscriptions(case: Case) -> Iterator[Case]:
    for number, user in enumerate(case.users):
        for index in range(len(user.subscriptions)):
            fewer = replace(user, subscriptions=(*user.subscriptions[:index], *user.subscriptions[index + 1 :]))
            yield replace(case, users=(*case.users[:number], fewer, *case.users[number + 1 :]))


def _configs(config: Config) -> Iterator[Config]:
    for number, stream in enumerate(config.streams):
        if len(config.streams) > 1:
            yield replace(config, streams=(*config.streams[:number], *config.streams[number + 1 :]))
        for smaller in _streams(stream):
            yield replace(config, streams=(*config.streams[:number], smaller, *config.streams[number + 1 :]))
    used = list(walk(config.streams))
    kept = tuple(named for named in config.named if named in used)
    if len(kept) < len(config.named):
        yield replace(config, named=kept)


def _streams(stream: Stream) -> Iterator[Stream]:
    for number, query in enumerate(stream.queries):
        if len(stream.queries) > 1:
            yield replace(stream, queries=(*stream.queries[:number], *stream.queries[number + 1 :]))
        for smaller in _selects(query):
            yield replace(stream, queries=(*stream.queries[:number], smaller, *stream.queries[number + 1 :]))


def _selects(select: Select) -> Iterator[Select]:
    if len(select.columns) > 1:
        for number in range(len(select.columns)):
            yield replace(select, columns=(*select.columns[:number], *select.columns[number + 1 :]))
    for condition in _conditions(select.where):
        smaller = replace(select, where=condition)
        if _uses_all_sources(smaller):
            yield smaller


def _conditions(condition: Node | None) -> Iterator[Node | None]:
    if condition is None:
        return
    yield None
    if isinstance(condition, Logic):
        yield from condition.parts
        for number, part in enumerate(condition.parts):
            for smaller in _conditions(part):
                if smaller is not None:
                    parts = (*condition.parts[:number], smaller, *condition.parts[number + 1 :])
                    yield replace(condition, parts=parts)


def _uses_all_sources(select: Select) -> bool:
    """A source without a condition is ignored by the language, so a smaller query must not have one."""
    conditions = (select.where, tuple(source.condition for source in select.sources))
    used = {part.source for part in walk(conditions) if isinstance(part, (ColumnOf, RowMeta))}
    return all(source.relation.uid in used for source in select.sources[1:])
