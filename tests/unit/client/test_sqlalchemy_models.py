"""The schema made of models, and the refusals."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from syncline.client.schema import SchemaInvalid
from syncline.client.schema_columns import BOOLEAN, DATETIME, JSON, PLAIN
from syncline.client.sqlalchemy import metadata_from_schema, schema_from_sqlalchemy


def metadata(*columns: sa.Column[Any], key: sa.Column[Any] | None = None) -> sa.MetaData:
    made = sa.MetaData()
    key = sa.Column("id", sa.String, primary_key=True) if key is None else key
    sa.Table("lists", made, key, *columns)
    return made


@pytest.mark.requirement(98)
def test_columns_get_the_type_that_rows_are_stored_with() -> None:
    made = metadata(
        sa.Column("name", sa.Text),
        sa.Column("done", sa.Boolean),
        sa.Column("at", sa.DateTime),
        sa.Column("day", sa.Date),
        sa.Column("tags", sa.JSON),
        sa.Column("number", sa.BigInteger),
        sa.Column("share", sa.Float),
        sa.Column("price", sa.Numeric(10, 2)),
        sa.Column("kind", sa.Enum("a", "b", name="kind")),
        sa.Column("owner", sa.Uuid),
    )
    [table] = schema_from_sqlalchemy(made).tables
    assert {column.name: (column.type.value, column.codec) for column in table.columns} == {
        "name": ("TEXT", PLAIN),
        "done": ("INTEGER", BOOLEAN),
        "at": ("TEXT", DATETIME),
        "day": ("TEXT", PLAIN),
        "tags": ("TEXT", JSON),
        "number": ("INTEGER", PLAIN),
        "share": ("REAL", PLAIN),
        "price": ("TEXT", PLAIN),
        "kind": ("TEXT", PLAIN),
        "owner": ("TEXT", PLAIN),
    }


@pytest.mark.requirement(98)
def test_options_go_to_the_tables_that_they_name() -> None:
    made = metadata(sa.Column("name", sa.Text, index=True))
    sa.Table("drafts", made, sa.Column("id", sa.String, primary_key=True))
    sa.Table("events", made, sa.Column("id", sa.Uuid, primary_key=True))
    schema = schema_from_sqlalchemy(
        made, local_only={"drafts"}, insert_only={"events"}, options={"lists": {"track_previous": True}}
    )
    tables = {table.name: table for table in schema.tables}
    assert (tables["drafts"].local_only, tables["events"].insert_only) == (True, True)
    assert [column.name for column in tables["lists"].previous_columns] == ["name"]
    assert [(index.name, [part.column.name for part in index.columns]) for index in tables["lists"].indexes] == [
        ("ix_lists_name", ["name"])
    ]
    with pytest.raises(SchemaInvalid, match='no table "list"'):
        schema_from_sqlalchemy(made, local_only={"list"})


def test_indexes_of_expressions_stay_on_the_source() -> None:
    name = sa.Column("name", sa.Text)
    made = metadata(name)
    sa.Index("lowered", sa.func.lower(name))
    [table] = schema_from_sqlalchemy(made).tables
    assert table.indexes == ()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (sa.Column("id", sa.Integer, primary_key=True), "is no text"),
        (sa.Column("key", sa.String, primary_key=True), r"is \(key\)"),
    ],
)
@pytest.mark.requirement(86)
def test_keys_that_devices_cannot_make_are_refused(key: sa.Column[Any], message: str) -> None:
    with pytest.raises(SchemaInvalid, match=message) as raised:
        schema_from_sqlalchemy(metadata(key=key))
    assert raised.value.hint


def test_pairs_as_keys_are_refused() -> None:
    made = metadata(sa.Column("other", sa.String, primary_key=True))
    with pytest.raises(SchemaInvalid, match=r"\(id, other\)") as raised:
        schema_from_sqlalchemy(made)
    assert "index" in str(raised.value.hint)


def test_binary_columns_are_refused() -> None:
    with pytest.raises(SchemaInvalid, match="is binary"):
        schema_from_sqlalchemy(metadata(sa.Column("photo", sa.LargeBinary)))


@pytest.mark.requirement(98)
def test_models_to_schema_to_tables_and_back_is_the_same_schema() -> None:
    made = metadata(
        sa.Column("name", sa.Text), sa.Column("done", sa.Boolean), sa.Column("at", sa.DateTime), sa.Column("n", sa.BigInteger),
        sa.Column("tags", sa.JSON), sa.Column("share", sa.Float),
    )  # fmt: skip
    [table] = schema_from_sqlalchemy(made).tables
    [again] = schema_from_sqlalchemy(metadata_from_schema(schema_from_sqlalchemy(made))).tables
    assert (again.name, again.columns) == (table.name, table.columns)
