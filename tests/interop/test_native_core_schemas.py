"""Random schemas one after the other on one file: our engine and the official core leave the same texts and the same rows (C5)."""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.layout import prepare
from syncline.client.schema import Column, ColumnType, Schema, Table
from tests.interop.core_pair import rows
from tests.interop.native_core import NativeCore, core_library

SEQUENCES = 1000 if os.environ.get("SYNCLINE_SOAK") else 100
CHANGES = 6  # schemas of one sequence
NAMES = ("a", "b", "ü", "Long_Name")
COLUMNS = ("x", "y", "é", "z_1", "Count")
MASTER = (
    "SELECT type, name, sql FROM sqlite_master WHERE type <> 'trigger' AND name NOT GLOB 'sqlite_*' ORDER BY type, name"
)
TRIGGERS = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger' ORDER BY name"


@pytest.fixture(scope="module")
def library() -> Path:
    return core_library()


def random_table(chance: random.Random, name: str) -> Table:
    columns = [
        Column(column, chance.choice(list(ColumnType)))
        for column in chance.sample(COLUMNS, chance.randrange(1, len(COLUMNS) + 1))
    ]
    names = [column.name for column in columns]
    indexes = {
        f"i{number}": [
            chance.choice(("", "-")) + column for column in chance.sample(names, chance.randint(1, len(names)))
        ]
        for number in range(chance.randrange(3))
    }
    local = chance.random() < 0.2
    tracked: bool | list[str] = False if local else chance.choice((False, True, names[:1]))
    return Table(
        name,
        columns,
        indexes=indexes,
        local_only=local,
        insert_only=chance.random() < 0.2,
        view_name=chance.choice((None, None, f"view_{name}")),
        track_previous=tracked,
        track_previous_only_when_changed=chance.random() < 0.5,
        track_metadata=not local and chance.random() < 0.3,
        ignore_empty_updates=chance.random() < 0.3,
    )


def random_schema(chance: random.Random) -> Schema:
    return Schema([random_table(chance, name) for name in NAMES if chance.random() < 0.7])


def random_writes(chance: random.Random, schema: Schema) -> list[str]:
    """Writes through the views; some rows have keys that this schema does not show."""
    statements: list[str] = []
    for table in schema.tables:
        column = chance.choice(table.columns).name
        row, value = chance.randrange(4), chance.choice(("'v'", "1", "1.5", "NULL"))
        statements.append(f'INSERT OR REPLACE INTO "{table.view_name}"(id, "{column}") VALUES (\'{row}\', {value})')
        if not table.insert_only:
            statements.append(f'UPDATE "{table.view_name}" SET "{column}" = {value} WHERE id = \'{row + 1}\'')
    absent = [name for name in NAMES if schema.table(name) is None]  # what sync would bring for tables that are gone
    statements += [
        f"INSERT OR REPLACE INTO ps_untyped VALUES ('{name}', '{chance.randrange(9)}', '{{}}')" for name in absent
    ]
    return statements


@pytest.mark.requirement(85, 93)
@pytest.mark.parametrize("first", range(0, SEQUENCES, 50))
def test_random_schemas_leave_the_same_file_as_the_official_core(library: Path, first: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(first, first + 50):
        chance = random.Random(seed)
        before: set[str] = set()
        core, ours = NativeCore(library, Schema([])), open_writer(":memory:")
        prepare(ours, Schema([]))
        for change in range(CHANGES):
            schema = random_schema(chance)
            core.replace_schema(schema)
            prepare(ours, schema)
            place = f"seed {seed}, schema {change}"
            assert rows(ours, MASTER) == rows(core.connection, MASTER), place
            assert rows(ours, TRIGGERS) == rows(core.connection, TRIGGERS), place
            for sql in random_writes(chance, schema):
                core.connection.execute(sql)
                with write_transaction(ours):
                    ours.execute(sql)
            for table in ("ps_untyped", *(table.internal_name for table in schema.tables)):
                query = f'SELECT * FROM "{table}" ORDER BY 1, 2'
                assert rows(ours, query) == rows(core.connection, query), f"{place}: {table}"
            entries = "SELECT data FROM ps_crud ORDER BY id"
            # The core leaves the metadata of insert-only rows out.
            assert len(rows(ours, entries)) == len(rows(core.connection, entries)), place
            for table in schema.tables:
                seen["view of another name"] += table.view_name != table.name
                seen["local-only"] += table.local_only
                seen["insert-only"] += table.insert_only
                seen["index"] += len(table.indexes)
                seen["descending"] += any(not key.ascending for index in table.indexes for key in index.columns)
            names = {table.internal_name for table in schema.tables}
            seen["table gone"] += len(before - names)
            seen["table back or new"] += len(names - before)
            before = names
        ours.close()
        core.connection.close()
    print(f"seeds {first} to {first + 49}:", ", ".join(f"{count} {what}" for what, count in sorted(seen.items())))
    assert all(seen.values())
