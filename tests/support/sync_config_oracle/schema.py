"""A generated source schema: typed Postgres tables, among them families for wildcards and one table that several schemas have."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal as OneOf

__all__ = ["FAMILY", "SHARED_TABLE", "Kind", "Schema", "SourceColumn", "SourceTable", "generate_schema"]

Kind = OneOf["text", "opaque", "int", "big", "real", "list", "doc", "any"]
"""What is known of a value when a query is generated.

`opaque` is text that should not become a number (it may have any number of digits); `big` is beyond 2^53; `list` and `doc` are JSON
texts, or NULL.
"""
FAMILY = "ev_"
SHARED_TABLE = "orders"
SHARED_SCHEMAS = ("ten_a", "ten_b")


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column: its Postgres type, and what its values are to the language."""

    name: str
    postgres_type: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table; the first column is its key, `id`."""

    schema: str
    name: str
    columns: tuple[SourceColumn, ...]

    def column(self, name: str) -> SourceColumn | None:
        """The column of this name, if the table has it."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True)
class Schema:
    """All source tables."""

    tables: tuple[SourceTable, ...]

    @property
    def plain(self) -> tuple[SourceTable, ...]:
        """Tables of `public` that belong to no family."""
        return tuple(table for table in self.tables if table.schema == "public" and not table.name.startswith(FAMILY))

    def matching(self, schema: str, name: str) -> tuple[SourceTable, ...]:
        """The tables that a pattern means."""
        return tuple(table for table in self.tables if _matches(schema, table.schema) and _matches(name, table.name))


def _matches(pattern: str, text: str) -> bool:
    return text.startswith(pattern[:-1]) if pattern.endswith("%") else text == pattern


_COLUMNS: tuple[tuple[str, str, Kind], ...] = (
    ("owner", "text", "text"),
    ("ref", "text", "text"),
    ("n", "integer", "int"),
    ("x", "double precision", "real"),
    ("done", "boolean", "int"),
    ("tags", "text", "list"),
    ("doc", "text", "doc"),
    ("Kind", "text", "text"),
    ("big", "bigint", "big"),
    ("m", "integer", "int"),
    ("y", "double precision", "real"),
    ("nums", "text", "list"),
)


def _columns(draw: random.Random) -> tuple[SourceColumn, ...]:
    """`id`, a text, a number, and some more."""
    whole_ids = draw.random() < 0.25
    key = SourceColumn("id", "bigint", "int") if whole_ids else SourceColumn("id", "text", "text")
    always = {draw.choice(("owner", "ref")), draw.choice(("n", "x")), draw.choice(("tags", "doc"))}
    more = set(draw.sample([name for name, _, _ in _COLUMNS], draw.randrange(2, 5)))
    chosen = [SourceColumn(*column) for column in _COLUMNS if column[0] in always | more]
    draw.shuffle(chosen)
    return (key, *chosen)


def generate_schema(draw: random.Random) -> Schema:
    """Three or four plain tables, two of a family (one of them may lack a column), one table in two schemas."""
    plain = [SourceTable("public", f"t{number}", _columns(draw)) for number in range(draw.randrange(3, 5))]
    family = _columns(draw)
    lacking = family[:-1] if draw.random() < 0.6 else family
    shared = _columns(draw)
    return Schema(
        (
            *plain,
            SourceTable("public", f"{FAMILY}1", family),
            SourceTable("public", f"{FAMILY}2", lacking),
            *(SourceTable(schema, SHARED_TABLE, shared) for schema in SHARED_SCHEMAS),
        )
    )
