"""Queries, streams and configs as a tree of our own, before they become text of either language.

A source is named by a number (`uid`) that is unique in its config, so that neither language's name resolution is taken for granted.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.sync_config_oracle.tree import ColumnOf, Node

__all__ = [
    "Config",
    "Derived",
    "Elements",
    "NamedSelect",
    "Output",
    "Relation",
    "Select",
    "Source",
    "Star",
    "Stream",
    "TableSource",
]


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table in FROM. Either part may end with `%`. Without `schema`, `public` is meant and not written."""

    uid: int
    schema: str | None
    name: str
    alias: str | None


@dataclass(frozen=True, slots=True)
class Derived:
    """A subquery in FROM, or a named one (`target`); `columns` are names given to the columns of a written subquery."""

    uid: int
    target: Select | NamedSelect
    alias: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Elements:
    """`json_each(argument)` in FROM."""

    uid: int
    argument: Node
    alias: str


Relation = TableSource | Derived | Elements


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of FROM: joined by a comma, or by JOIN … ON `condition`."""

    relation: Relation
    comma: bool
    condition: Node | None = None


@dataclass(frozen=True, slots=True)
class Star:
    """`*` (`qualified`: `t.*`) over the source."""

    source: int
    qualified: bool


@dataclass(frozen=True, slots=True)
class Output:
    """A result column; without alias a plain column keeps its name."""

    value: Node
    alias: str | None

    @property
    def name(self) -> str:
        """The column's name in the result."""
        if self.alias is not None:
            return self.alias
        assert isinstance(self.value, ColumnOf)
        return self.value.name


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT. `bare`: the columns of its only source are written without the source's name."""

    columns: tuple[Star | Output, ...]
    sources: tuple[Source, ...]
    where: Node | None
    bare: bool


@dataclass(frozen=True, slots=True)
class NamedSelect:
    """A subquery under `with`."""

    name: str
    select: Select


@dataclass(frozen=True, slots=True)
class Stream:
    """One sync stream."""

    name: str
    auto_subscribe: bool
    named: tuple[NamedSelect, ...]
    queries: tuple[Select, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """A whole sync config."""

    named: tuple[NamedSelect, ...]
    streams: tuple[Stream, ...]
