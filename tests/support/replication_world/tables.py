"""Random tables: their columns, replica identities, and what their rows must look like on a client."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

__all__ = ["COLUMN_TYPES", "Identity", "WorldTable", "draw_tables"]


class Identity(enum.Enum):
    """By what Postgres names a row of the table in its log."""

    DEFAULT = "default"  # a primary key of one or two columns
    INDEX = "index"  # a unique index on the id
    FULL = "full"  # the whole row
    NOTHING = "nothing"  # rows can only be inserted, and the table truncated


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type of a column: its name in SQL, and the expression that gives its synced value from a column `{}`."""

    sql: str
    synced: str = "{}"


COLUMN_TYPES = {
    "text": ColumnType("text"),
    "integer": ColumnType("int"),
    "bigint": ColumnType("bigint"),
    "boolean": ColumnType("boolean", "{}::int"),
    "real": ColumnType("double precision"),
    "numeric": ColumnType("numeric", "{}::text"),
    "document": ColumnType("jsonb", "{}::text"),
    "moment": ColumnType("timestamptz", "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"),
    "labels": ColumnType("text[]", "array_to_json({})::text"),
    "large": ColumnType("text"),  # stored out of line: left out of updates that do not touch it
}


@dataclass(slots=True)
class WorldTable:
    """A table. `columns` are beside `id`, `part` (of a key of two) and `owner`, which every table has."""

    name: str
    identity: Identity
    two_key_columns: bool
    columns: dict[str, str]  # name -> key of COLUMN_TYPES
    is_late: bool = False  # not made yet: only when the replicator streams

    @property
    def can_change(self) -> bool:
        """Whether rows may be updated and deleted."""
        return self.identity is not Identity.NOTHING

    @property
    def has_key(self) -> bool:
        """Whether a key or an index names its rows."""
        return self.identity in (Identity.DEFAULT, Identity.INDEX)

    @property
    def key_identity(self) -> str:
        """The replica identity by its key, as ALTER TABLE has it."""
        return "DEFAULT" if self.identity is Identity.DEFAULT else f"USING INDEX {self.name}_id"

    def create_sql(self) -> str:
        """The statements that make it."""
        columns = "".join(f", {name} {COLUMN_TYPES[kind].sql}" for name, kind in self.columns.items())
        key = "id, part" if self.two_key_columns else "id"
        primary = f", PRIMARY KEY ({key})" if self.identity is Identity.DEFAULT else ""
        sql = f"CREATE TABLE {self.name} (id text NOT NULL, part int NOT NULL DEFAULT 0, owner text{columns}{primary});"
        if self.identity is Identity.INDEX:
            sql += f"CREATE UNIQUE INDEX {self.name}_id ON {self.name} (id);"
            sql += f"ALTER TABLE {self.name} REPLICA IDENTITY USING INDEX {self.name}_id;"
        elif self.identity is not Identity.DEFAULT:
            sql += f"ALTER TABLE {self.name} REPLICA IDENTITY {self.identity.name};"
        return sql

    def rows_sql(self) -> str:
        """A query for every row as clients must have it: a text of JSON, whose numbers tell integers and reals apart by type."""
        pairs = ["'id', id", "'part', part", "'owner', owner"]
        pairs += [f"'{name}', {COLUMN_TYPES[kind].synced.format(name)}" for name, kind in self.columns.items()]
        return f"SELECT jsonb_build_object({', '.join(pairs)})::text, owner FROM {self.name}"

    def queries(self) -> dict[str, str]:
        """Streams over it: all rows, and those of an owner."""
        return {
            f"{self.name}_all": f"SELECT * FROM {self.name}",
            f"{self.name}_mine": f"SELECT * FROM {self.name} WHERE owner = auth.user_id()",
        }


def draw_tables(draw: random.Random) -> list[WorldTable]:
    """Two to four tables, at least one with a key, and one more that is made later; each identity comes up often."""
    tables: list[WorldTable] = []
    keyed = draw.choice([Identity.DEFAULT, Identity.INDEX])
    others = draw.sample([identity for identity in Identity if identity is not keyed], draw.randint(1, 3))
    identities = draw.sample([keyed, *others], len(others) + 1)
    for number, identity in enumerate(identities):
        kinds = draw.sample(list(COLUMN_TYPES), draw.randint(1, 5))
        columns = {f"{kind}_{index}": kind for index, kind in enumerate(kinds)}
        two = identity is Identity.DEFAULT and draw.random() < 0.4
        tables.append(WorldTable(f"t{number}", identity, two, columns))
    late = draw.choice([Identity.DEFAULT, Identity.INDEX, Identity.FULL])
    kinds = {"large_0": "large", "integer_1": "integer"}
    return [*tables, WorldTable("late", late, two_key_columns=False, columns=kinds, is_late=True)]
