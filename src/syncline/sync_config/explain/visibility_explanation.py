"""The result of `explain_visibility`: the ways by which a user sees a row, or what stands in the way of each."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from syncline.sync_config.compiler.model import QueryOrigin
from syncline.sync_config.explain.parts import Explained, indented, origin_line
from syncline.sync_config.explain.shown_value import ShownValue

__all__ = ["Difference", "Likeness", "Obstacle", "ObstacleKind", "Parameter", "VisibilityExplanation", "Way"]

SHOWN_MAX = 10  # values of a user in a line of text


class ObstacleKind(enum.StrEnum):
    """What keeps a row from a user."""

    NO_QUERY = "no_query"  # no query of the config selects from the table
    NOT_IN_BUCKET = "not_in_bucket"  # the query puts the row into no bucket
    NOT_SUBSCRIBED = "not_subscribed"  # the connection does not ask for the stream
    NO_BUCKETS = "no_buckets"  # the stream gives the connection no bucket of the row's source at all
    OTHER_VALUES = "other_values"  # it gives buckets, but with other values


class Likeness(enum.StrEnum):
    """How a value that differs is nearly the same."""

    NONE = "none"
    TYPE = "type"  # 7 and '7'
    CASE_OR_BLANKS = "case_or_blanks"  # 'Ab' and 'ab ', frequent with UUIDs


@dataclass(frozen=True, slots=True)
class Parameter:
    """A partition key of a bucket that row and user have in common, and through which parameter the user has its value."""

    sql: str
    value: ShownValue
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """A bucket through which a user sees a row. `origins` are the queries that put the row there."""

    bucket: str
    stream: str
    subscription: str
    origins: tuple[QueryOrigin, ...]
    object_type: str
    object_id: str
    parameters: tuple[Parameter, ...]

    def lines(self) -> Iterator[str]:
        """The bucket, then how the user comes to it."""
        yield f"✓ bucket {self.bucket}, from stream {self.stream} ({self.subscription}), as {self.object_type} '{self.object_id}'"
        for parameter in self.parameters:
            yield f"    {parameter.sql} = {parameter.value}, and the user has it through {' and '.join(parameter.through)}"
        yield f"    by {origin_line(self.origins, self.stream)}"


@dataclass(frozen=True, slots=True)
class Difference:
    """A partition key for which the row has one value and the user others. `likeness` says if one of those is nearly the same."""

    sql: str
    row_value: ShownValue
    user_values: tuple[ShownValue, ...]
    through: tuple[str, ...]
    likeness: Likeness

    def lines(self) -> Iterator[str]:
        """The values, then what makes them differ."""
        values = ", ".join(map(str, self.user_values[:SHOWN_MAX])) or "nothing"
        more = f" and {len(self.user_values) - SHOWN_MAX} more" if len(self.user_values) > SHOWN_MAX else ""
        yield f"{self.sql}: the row has {self.row_value}, the user has {values}{more}, through {' and '.join(self.through)}"
        if self.likeness is Likeness.TYPE:
            yield "TYPES DIFFER: a number and a text are never equal. Write CAST(… AS text) around the number in the query."
        if self.likeness is Likeness.CASE_OR_BLANKS:
            yield "They differ in upper and lower case or in blanks only. Write lower(…) on both sides, or store them alike."


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why the row does not reach the user by one query, and by one stream where the row stands in a bucket."""

    kind: ObstacleKind
    reason: str
    origins: tuple[QueryOrigin, ...] = ()
    bucket: str | None = None
    stream: str | None = None
    differences: tuple[Difference, ...] = ()

    def lines(self) -> Iterator[str]:
        """The query, then what is in the way."""
        yield f"✗ {origin_line(self.origins, self.reason)}"
        if self.origins:
            yield f"    {self.reason}"
        for difference in self.differences:
            yield from indented(difference.lines(), 4)


@dataclass(frozen=True, slots=True)
class VisibilityExplanation(Explained):
    """Whether a user sees a row. Exactly one of `ways` and `obstacles` is empty."""

    table: str
    user_id: str
    ways: tuple[Way, ...]
    obstacles: tuple[Obstacle, ...]

    @property
    def visible(self) -> bool:
        """Whether the row is on the user's devices, once they have synced."""
        return bool(self.ways)

    def lines(self) -> Iterator[str]:
        """The explanation as lines of text."""
        yield f"User {self.user_id} {'sees' if self.visible else 'does NOT see'} this row of {self.table}."
        for part in (*self.ways, *self.obstacles):
            yield from indented(part.lines())
