"""Random source transactions: inserts, updates, changed keys, deletes, TRUNCATE, large ones, savepoints, and rollbacks."""

from __future__ import annotations

import random
from collections import Counter

from tests.support.replication_world.tables import WorldTable

__all__ = ["LARGE_ROWS", "TransactionWriter"]

LARGE_ROWS = 130  # rows of a large transaction: several flushes of the replicator in these tests
OWNERS = ("ann", "bob", "cleo")


def _literal(kind: str, draw: random.Random) -> str:
    """A value of a column type, as SQL; NULL now and then."""
    if draw.random() < 0.15:
        return "NULL"
    texts = ["x", "é漢😀", "a\tb", 'q " \\', "", "null"]
    values = {
        "text": lambda: f"'{draw.choice(texts)}'",
        "integer": lambda: str(draw.randint(-(2**31), 2**31 - 1)),
        "bigint": lambda: str(draw.choice([2**53 + 1, -(2**63), 2**63 - 1, 7])),
        "boolean": lambda: draw.choice(["true", "false"]),
        "real": lambda: draw.choice(["1.5", "-0.25", "1e10", "3", "123456.789"]),
        "numeric": lambda: draw.choice(["12.340", "0.00", "99999999999999999999.5"]),
        "document": lambda: draw.choice(['\'{"a": [1, {"b": null}]}\'', "'[]'", "'\"s\"'"]),
        "moment": lambda: draw.choice(["'2026-01-02 03:04:05.123456+02'", "'1999-12-31 23:59:59Z'"]),
        "labels": lambda: draw.choice(["'{a,b}'", "'{}'", "'{\"x y\",NULL}'"]),
        "large": lambda: (
            f"(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, {draw.choice([3, 200])}))"
        ),
    }
    return values[kind]()


class TransactionWriter:
    """Makes the transactions of one run. `counts` says how often each kind of change was made."""

    def __init__(self, draw: random.Random, tables: list[WorldTable]) -> None:
        self._draw = draw
        self._tables = tables
        self._next_id = 0
        self._named_by_rows: set[str] = set()  # tables whose identity was changed to FULL
        self.counts: Counter[str] = Counter()

    def transaction(self) -> str:
        """One transaction, as a script."""
        draw = self._draw
        statements = [self._change() for _ in range(draw.randint(1, 6))]
        if draw.random() < 0.25:
            self.counts["savepoint"] += 1
            undone = [self._change() for _ in range(2)]
            statements += ["SAVEPOINT s", *undone, draw.choice(["ROLLBACK TO s", "RELEASE s"]), self._change()]
        end = "COMMIT"
        if draw.random() < 0.15:
            self.counts["rolled back"] += 1
            end = "ROLLBACK"
        return "; ".join(["BEGIN", *statements, end])

    def large_transaction(self) -> str:
        """A transaction of more rows than one flush holds, over two tables."""
        self.counts["large"] += 1
        tables = self._draw.sample(self._made(), 2)
        return "; ".join(["BEGIN", *(self.insert_many(table, LARGE_ROWS) for table in tables), "COMMIT"])

    def insert_many(self, table: WorldTable, rows: int) -> str:
        """Rows with new ids."""
        first = self._next_id
        self._next_id += rows
        values = "".join(f", {_literal(kind, self._draw)}" for kind in table.columns.values())
        names = "".join(f", {name}" for name in table.columns)
        return (
            f"INSERT INTO {table.name} (id, part, owner{names}) SELECT 'r' || n, n % 3, (ARRAY['ann','bob','cleo'])[n % 3 + 1]"
            f"{values} FROM generate_series({first}, {first + rows - 1}) n"
        )

    def truncate(self, table: WorldTable) -> str:
        """Empty a table."""
        self.counts["truncate"] += 1
        return f"TRUNCATE {table.name}"

    def change_identity(self) -> str:
        """A table with a key is named by whole rows from now on, or by its key again; a row change makes it known."""
        self.counts["identity changed"] += 1
        table = self._draw.choice([table for table in self._made() if table.has_key])
        self._named_by_rows ^= {table.name}
        identity = "FULL" if table.name in self._named_by_rows else table.key_identity
        return f"ALTER TABLE {table.name} REPLICA IDENTITY {identity}; {self.insert_many(table, 1)}"

    def copied_beside(self) -> str:
        """What has a table copied while the stream goes on: the late table is made, or a table gets a column that its rows have."""
        late = [table for table in self._tables if table.is_late]
        if late:
            late[0].is_late = False
            self.counts["table made"] += 1
            return f"BEGIN; {late[0].create_sql()} COMMIT; {self.insert_many(late[0], 150)}"
        # The others are copied while the stream waits.
        keyed = [table for table in self._made() if table.has_key and table.name not in self._named_by_rows]
        if not keyed:
            return self.change_identity()
        self.counts["column added"] += 1
        table = self._draw.choice(keyed if self._draw.random() < 0.8 else self._made())
        name = f"integer_{len(table.columns)}"
        default = self._draw.randint(0, 99)
        sql = f"ALTER TABLE {table.name} ADD COLUMN {name} int DEFAULT {default}"
        table.columns[name] = "integer"
        return f"{sql}; {self.insert_many(table, 1)}"

    def _made(self) -> list[WorldTable]:
        return [table for table in self._tables if not table.is_late]

    def _change(self) -> str:
        table = self._draw.choice(self._made())
        kinds = ["insert"] * 4 + (["update"] * 5 + ["key"] * 2 + ["delete"] * 2 if table.can_change else ["insert"])
        kind = self._draw.choice([*kinds, "truncate"] if self._draw.random() < 0.2 else kinds)
        if kind == "truncate":
            return self.truncate(table)
        self.counts[kind] += 1
        if kind == "insert":
            return self.insert_many(table, self._draw.choice([1, 1, 3]))
        first, rows = self._draw.randrange(20), self._draw.randint(1, 3)
        chosen = f"WHERE ctid IN (SELECT ctid FROM {table.name} ORDER BY id OFFSET {first} LIMIT {rows})"
        if kind == "delete":
            return f"DELETE FROM {table.name} {chosen}"
        if kind == "key":
            return f"UPDATE {table.name} SET id = id || 'k' {chosen}"
        name = self._draw.choice(["owner", *table.columns])
        value = f"'{self._draw.choice(OWNERS)}'" if name == "owner" else _literal(table.columns[name], self._draw)
        return f"UPDATE {table.name} SET {name} = {value} {chosen}"
