"""Sets by key, most of which have one member."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar, cast

__all__ = ["SmallSets"]

_Member = TypeVar("_Member")


class SmallSets(Generic[_Member]):
    """Sets by key. A lone member stands for its set, which would take 216 bytes for each of thousands of streams. Members are no sets."""

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: dict[str, _Member | set[_Member]] = {}

    def add(self, key: str, member: _Member) -> None:
        """Put a member into a key's set. One that is in it already stays once."""
        found = self._by_key.setdefault(key, member)
        if isinstance(found, set):
            cast("set[_Member]", found).add(member)
        elif found is not member:
            self._by_key[key] = {found, member}

    def discard(self, key: str, member: _Member) -> None:
        """Take a member out of a key's set, where it is in it."""
        found = self._by_key.get(key)
        if found is member:
            del self._by_key[key]
        elif isinstance(found, set):
            members = cast("set[_Member]", found)
            members.discard(member)
            if len(members) == 1:
                self._by_key[key] = members.pop()

    def of(self, key: str) -> Collection[_Member]:
        """The members of a key's set; not to be changed."""
        found = self._by_key.get(key)
        if found is None:
            return ()
        return cast("set[_Member]", found) if isinstance(found, set) else (found,)

    def members(self) -> Iterator[_Member]:
        """The members of all sets."""
        for key in self._by_key:
            yield from self.of(key)

    def __len__(self) -> int:
        """How many members all sets have together."""
        return sum(len(self.of(key)) for key in self._by_key)
