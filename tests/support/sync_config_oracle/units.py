"""What a query under construction may read: units, whose values a condition must not mix outside of an equality.

A unit is one use of a table (with the elements of its JSON), the connection data, or the elements of JSON in connection data.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.support.sync_config_oracle.schema import Kind
from tests.support.sync_config_oracle.tree import ColumnOf, Node, Parameter, RowMeta, UserId

__all__ = ["Field", "Unit", "connection_unit", "table_fields"]


@dataclass(frozen=True, slots=True)
class Field:
    """A value that a unit offers. `partial`: some of the tables that a wildcard means do not have it."""

    node: Node
    kind: Kind
    partial: bool = False


@dataclass(slots=True, eq=False)
class Unit:
    """Values of one origin. `anchored`: equalities lead from here to the selected table or to the connection."""

    fields: list[Field] = field(default_factory=list[Field])
    is_connection: bool = False
    anchored: bool = True

    def pick(self, draw: random.Random, kinds: Iterable[Kind] = ()) -> Field | None:
        """A field of one of the kinds (any field where none are given), or None."""
        wanted = set(kinds)
        candidates = [each for each in self.fields if not wanted or each.kind in wanted]
        return draw.choice(candidates) if candidates else None


def table_fields(uid: int, columns: Iterable[tuple[str, Kind, bool]], *, is_wildcard: bool) -> list[Field]:
    """The columns (name, kind, partial) of a table source, and the functions over its name."""
    found = [Field(ColumnOf(uid, name), kind, partial) for name, kind, partial in columns]
    if is_wildcard:
        found += [Field(RowMeta(uid, what), "text") for what in ("table_name", "table_suffix", "schema")]
    return found


_PARAMETERS: tuple[tuple[str, Kind], ...] = (
    ("role", "text"),
    ("org", "any"),
    ("level", "real"),
    ("level", "real"),
    ("tags", "list"),
    ("nums", "list"),
    ("profile", "doc"),
    ("$.region.code", "text"),
    ("$.region.level", "real"),
    ("$.tags.0", "any"),
    ("flag", "int"),
    ("absent", "any"),
)


def connection_unit() -> Unit:
    """The data of a connection. `$.sub` and `auth.user_id()` are the same."""
    unit = Unit(is_connection=True)
    unit.fields += [Field(UserId(), "text")] * 5
    unit.fields += [Field(Parameter("auth", "$.sub"), "text"), Field(Parameter("auth", "sub"), "text")]
    unit.fields += [Field(Parameter("auth", key), kind) for key, kind in _PARAMETERS]
    for scope in ("connection", "subscription"):
        unit.fields += [
            Field(Parameter(scope, key), kind) for key, kind in _PARAMETERS if key not in ("profile", "flag")
        ]
        unit.fields.append(Field(Parameter(scope, "role"), "text"))
    unit.fields += [Field(Parameter(scope, None), "doc") for scope in ("auth", "connection", "subscription")]
    return unit
