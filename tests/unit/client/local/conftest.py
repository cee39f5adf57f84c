"""A database in memory with one table of each kind."""

from __future__ import annotations

from collections.abc import Generator

import apsw
import pytest

from syncline.client.local.connection import open_writer
from syncline.client.local.layout import prepare
from syncline.client.schema import Column, Schema, Table


@pytest.fixture
def schema() -> Schema:
    return Schema(
        [
            Table("lists", [Column.text("name"), Column.integer("count"), Column.real("ratio")]),
            Table("drafts", [Column.text("body")], local_only=True),
            Table("logs", [Column.text("message")], insert_only=True),
            Table("tracked", [Column.text("b"), Column.integer("a")], track_previous=True, track_metadata=True),
            Table("quiet", [Column.text("a")], ignore_empty_updates=True),
        ]
    )


@pytest.fixture
def connection(schema: Schema) -> Generator[apsw.Connection]:
    connection = open_writer(":memory:")
    prepare(connection, schema)
    yield connection
    connection.close()
