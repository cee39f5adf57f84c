"""A whole case: schema, config, rows, users, and changes. The same seed and number give the same case."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.sync_config_oracle.queries import ConfigGenerator
from tests.support.sync_config_oracle.query_tree import Config
from tests.support.sync_config_oracle.scalars import COMMON_TEXTS, ODD_TEXTS
from tests.support.sync_config_oracle.schema import Schema, SourceColumn, SourceTable, generate_schema

__all__ = ["CASES_PER_SCHEMA", "Case", "Change", "Row", "Rows", "SourceValue", "User", "generate_case"]

CASES_PER_SCHEMA = 25
USERS = ("u1", "u2", "u3")
SourceValue = str | int | float | bool | None
Row = Mapping[str, SourceValue]
"""A row by column, with Postgres's values: booleans are still booleans."""
Rows = Mapping[SourceTable, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class User:
    """A connection: its token, its own parameters, and what it subscribes to (stream, parameters)."""

    token: Mapping[str, Any]
    parameters: Mapping[str, Any]
    include_defaults: bool
    subscriptions: tuple[tuple[str, Mapping[str, Any] | None], ...]


@dataclass(frozen=True, slots=True)
class Change:
    """An insert (`before` None), a delete (`after` None), an update, or a move of the key."""

    table: SourceTable
    before: Row | None
    after: Row | None

    @property
    def kind(self) -> str:
        """How a database calls it."""
        if self.before is None or self.after is None:
            return "insert" if self.before is None else "delete"
        return "update" if self.before["id"] == self.after["id"] else "key move"


@dataclass(frozen=True, slots=True)
class Case:
    """What is compared: the rows of every user before and after the changes."""

    number: int
    schema: Schema
    config: Config
    rows: Rows
    users: tuple[User, ...]
    changes: tuple[Change, ...]


def generate_case(seed: int, number: int) -> Case:
    """The case with this number of the run with this seed."""
    schema = generate_schema(random.Random(f"{seed} schema {number // CASES_PER_SCHEMA}"))
    draw = random.Random(f"{seed} case {number}")
    config = ConfigGenerator(draw, schema).config()
    values = _Values(draw)
    rows = {table: values.rows(table) for table in schema.tables}
    users = tuple(values.user(sub, [stream.name for stream in config.streams]) for sub in USERS)
    return Case(number, schema, config, rows, users, values.changes(rows))


class _Values:
    """Draws values from small sets, so that keys and references meet."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def text(self) -> str:
        """Mostly one of the common texts, which are also keys and user ids."""
        return self._draw.choice(self._draw.choices((COMMON_TEXTS[:3], COMMON_TEXTS, ODD_TEXTS), (5, 4, 1))[0])

    def scalar(self) -> Any:
        """A JSON scalar."""
        draw = self._draw
        return self.text() if draw.random() < 0.65 else draw.choice((0, 1, 2, 3, 1.0, 0.5, True, False, None))

    def array(self) -> list[Any]:
        """A JSON array of scalars."""
        found = [self.scalar() for _ in range(self._draw.choice((0, 1, 2, 2, 3)))]
        return [*found, [self._draw.choice((1, 2, "a"))]] if self._draw.random() < 0.15 else found

    def document(self) -> dict[str, Any]:
        """A JSON object with up to two levels."""
        draw = self._draw
        every: dict[str, Any] = {
            "role": self.text(),
            "n": draw.choice((0, 1, 2, 1.5)),
            "list": [self.scalar() for _ in range(draw.randrange(3))],
            "sub": {"t": self.text(), "r": draw.choice((0.5, 1, 1.5, None))},
            "z": None,
            "on": draw.random() < 0.5,
        }
        return {key: value for key, value in every.items() if draw.random() < 0.75}

    # Rows

    def rows(self, table: SourceTable) -> list[Row]:
        """A few rows with different keys."""
        keys: Sequence[SourceValue] = COMMON_TEXTS if table.columns[0].kind == "text" else range(7)
        return [
            self._row(table, key) for key in self._draw.sample(list(keys), self._draw.choice((1, 3, 4, 5, 6, 7, 7, 0)))
        ]

    def _row(self, table: SourceTable, key: SourceValue) -> Row:
        return {"id": key} | {column.name: self._value(column) for column in table.columns[1:]}

    def _value(self, column: SourceColumn) -> SourceValue:
        draw = self._draw
        if draw.random() < 0.08:
            return None
        match column.postgres_type:
            case "boolean":
                return draw.random() < 0.6
            case "integer":
                return draw.choice((0, 1, 1, 1, 2, 2, 3, -3, 4))
            case "bigint":
                return draw.choice((1, 5, 9007199254740993, 9007199254740992, -9007199254740993))
            case "double precision":
                return draw.choice((0.0, 0.5, 1.0, 1.0, 2.0, 2.0, 1.5, -0.25))
            case _ if column.kind == "list":
                return _json(self.array())
            case _ if column.kind == "doc":
                return _json(self.document())
            case _:
                return self.text()

    def changes(self, rows: Rows) -> tuple[Change, ...]:
        """Some changes of every kind, in an order in which they can be made."""
        now = {table: {row["id"]: row for row in kept} for table, kept in rows.items()}
        found: list[Change] = []
        for _ in range(self._draw.randrange(4, 14)):
            table = self._draw.choice(list(now))
            change = self._change(table, now[table])
            found.append(change)
            if change.before is not None:
                del now[table][change.before["id"]]
            if change.after is not None:
                now[table][change.after["id"]] = change.after
        return tuple(found)

    def _change(self, table: SourceTable, rows: dict[SourceValue, Row]) -> Change:
        draw = self._draw
        keys: Sequence[SourceValue] = COMMON_TEXTS if table.columns[0].kind == "text" else range(7)
        unused = [key for key in keys if key not in rows]
        roll = draw.random()
        if not rows or (unused and roll < 0.3):
            return Change(table, None, self._row(table, draw.choice(unused)))
        before = rows[draw.choice(list(rows))]
        if roll > 0.8:
            return Change(table, before, None)
        if unused and roll > 0.65:
            return Change(table, before, {**before, "id": draw.choice(unused)})
        changed = draw.sample(table.columns[1:], draw.randrange(1, len(table.columns)))
        return Change(table, before, {**before, **{column.name: self._value(column) for column in changed}})

    # Users

    def user(self, sub: str, streams: Sequence[str]) -> User:
        """A user, mostly subscribed to what is not subscribed by default."""
        draw = self._draw
        subscribed = [name for name in streams for _ in range(draw.choice((0, 1, 1, 2)))]
        return User(
            {"sub": sub, **self._parameters()},
            self._parameters(),
            draw.random() < 0.85,
            tuple((name, None if draw.random() < 0.1 else self._parameters()) for name in subscribed),
        )

    def _parameters(self) -> dict[str, Any]:
        draw = self._draw
        every: dict[str, Any] = {
            "role": self.text(),
            "org": self.scalar(),
            "level": draw.choice((1, 1, 2, 1.5, 3.0)),
            "tags": self.array(),
            "nums": [draw.choice((1, 2, 3, 1.0, 0.5)) for _ in range(draw.randrange(4))],
            "profile": self.document(),
            "region": {"code": self.text(), "level": draw.choice((1, 2.0, 0.5, None))},
            "flag": draw.random() < 0.5,
        }
        return {key: value for key, value in every.items() if draw.random() < 0.9}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
