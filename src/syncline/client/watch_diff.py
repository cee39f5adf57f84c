"""What has changed between two results of a watched query (client API reference, 5: differential watch)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

import apsw

from syncline.client.rows import Parameters, Row
from syncline.client.watch import THROTTLE_S, Read, Watch, WatchSource
from syncline.errors import ClientError

__all__ = ["Diff", "DiffWatch", "Updated", "row_key"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Updated(Generic[T]):
    """A row with other values than before. `previous` is None where previous values are not kept."""

    current: T
    previous: T | None


@dataclass(frozen=True, slots=True)
class Diff(Generic[T]):
    """One result and how it differs from the one before, by key. In the first one every row is added.

    `rows` is the whole result in its order; rows that have not changed are the same objects as before. `moved` says that the order of
    rows that stayed is another one. Where previous values are not kept, `removed` is empty and `removed_keys` alone tells what is gone.
    """

    rows: list[T]
    added: list[T] = field(default_factory=list[T])
    updated: list[Updated[T]] = field(default_factory=list[Updated[T]])
    removed: list[T] = field(default_factory=list[T])
    removed_keys: list[Any] = field(default_factory=list[Any])
    unchanged: list[T] = field(default_factory=list[T])
    moved: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is different."""
        return not (self.added or self.updated or self.removed_keys or self.moved)


_State = dict[Any, Any]
"""Key to what is remembered of a row: itself, or without previous values a digest of it."""


class _Differ(Generic[T]):
    """Compares results. Pure: the state is an argument, so that a result which is dropped leaves no trace."""

    def __init__(self, key: Callable[[T], Any], *, keep_previous: bool) -> None:
        self._key = key
        self._keep_previous = keep_previous

    def compare(self, before: _State, rows: Sequence[T]) -> tuple[Diff[T], _State]:
        """The difference, and the state of the new result. Raises ClientError where two rows have one key."""
        diff: Diff[T] = Diff([])
        after: _State = {}
        for row in rows:
            key = self._key(row)
            if key in after:
                raise ClientError(
                    "Two rows of a watched query have the same key.",
                    hint='Name columns that tell the rows apart: `watch_diff(sql, key=["list_id", "position"])`.',
                )
            after[key] = self._place(key, row, before, diff)
        diff.removed_keys.extend(key for key in before if key not in after)
        if self._keep_previous:
            diff.removed.extend(before[key] for key in diff.removed_keys)
        moved = [key for key in before if key in after] != [key for key in after if key in before]
        return replace(diff, moved=moved), after

    def _place(self, key: Any, row: T, before: _State, diff: Diff[T]) -> Any:
        kept = row if self._keep_previous else _digest(row)
        if key not in before:
            diff.added.append(row)
        elif before[key] == kept:
            if self._keep_previous:
                row = kept = before[key]
            diff.unchanged.append(row)
        else:
            diff.updated.append(Updated(row, before[key] if self._keep_previous else None))
        diff.rows.append(row)
        return kept


class DiffWatch(Generic[T]):
    """The differences of one query: `async for diff in db.watch_diff(...)`. Results without a difference are left out, but the first."""

    def __init__(
        self,
        source: WatchSource,
        *,
        read: Read[list[T]],
        sql: str,
        parameters: Parameters | None,
        key: str | Sequence[str] | Callable[[T], Any],
        keep_previous: bool = True,
        throttle_s: float = THROTTLE_S,
        tables: Iterable[str] | None = None,
    ) -> None:
        differ = _Differ(row_key(key), keep_previous=keep_previous)
        self._state: _State = {}
        self._told = False

        def compare(connection: apsw.Connection, statement: str, bound: Any) -> tuple[Diff[T], _State]:
            # In the reader's thread: a large result must not hold up the event loop.
            return differ.compare(self._state, read(connection, statement, bound))

        self._watch = Watch(source, read=compare, sql=sql, parameters=parameters, throttle_s=throttle_s, tables=tables)

    def update(self, parameters: Parameters | None = None, *, sql: str | None = None, **named: Any) -> int:
        """Other parameters from now on: the next difference is between the last result that was told and theirs."""
        return self._watch.update(parameters, sql=sql, **named)

    def __aiter__(self) -> DiffWatch[T]:
        return self

    async def __anext__(self) -> Diff[T]:
        while True:
            diff, state = await anext(self._watch)
            self._state = state
            if not self._told or not diff.is_empty:
                self._told = True
                return diff

    async def aclose(self) -> None:
        """End it. Can be called again."""
        await self._watch.aclose()

    async def __aenter__(self) -> DiffWatch[T]:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def row_key(key: str | Sequence[str] | Callable[[T], Any]) -> Callable[[T], Any]:
    """A function that gives a row's key: a column, several columns, or whatever a function makes of it."""
    if callable(key):
        return key
    names = (key,) if isinstance(key, str) else key

    def of(row: T) -> Any:
        found = tuple(_column(row, name) for name in names)
        return found[0] if len(found) == 1 else found

    return of


def _column(row: Any, name: str) -> Any:
    try:
        if isinstance(row, Row):
            return row[name]
        return cast("dict[str, Any]", row)[name] if isinstance(row, dict) else getattr(row, name)
    except (KeyError, AttributeError):
        raise ClientError(
            f'A watched query has no column "{name}", which is its key.',
            hint=f'Select it, or name another one: `watch_diff(sql, key="…")`. The default key is "{name}".'
            if name == "id"
            else "Select it too.",
        ) from None


def _digest(row: Any) -> bytes:
    values: object = row.as_tuple() if isinstance(row, Row) else row
    return hashlib.blake2b(repr(values).encode(), digest_size=16).digest()
