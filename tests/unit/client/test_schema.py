"""The schema of the device's database."""

from __future__ import annotations

import pytest

from syncline.client.schema import COLUMNS_MAX, Column, ColumnType, RawTable, Schema, SchemaInvalid, Table
from syncline.client.schema_raw import REST, ROW_ID, RawStatement


@pytest.mark.requirement(86)
@pytest.mark.parametrize("name", ["id", "ID"])
def test_declaring_id_is_refused_with_an_explanation(name: str) -> None:
    with pytest.raises(SchemaInvalid) as caught:
        Table("lists", [Column.integer(name)])
    assert "always text" in caught.value.hint


@pytest.mark.requirement(87)
def test_there_are_three_column_types() -> None:
    columns = [Column.text("a"), Column.integer("b"), Column.real("c")]
    assert [column.type for column in columns] == [ColumnType.TEXT, ColumnType.INTEGER, ColumnType.REAL]
    assert {kind.value for kind in ColumnType} == {"TEXT", "INTEGER", "REAL"}


def test_a_column_twice_is_refused_whatever_its_case() -> None:
    with pytest.raises(SchemaInvalid, match="twice"):
        Table("lists", [Column.text("name"), Column.text("Name")])


@pytest.mark.parametrize("name", ["", 'a"b', "a'b", "a.b", "a b", "a[0]", "a%", "a,b", "a#", "a\x00b"])
def test_names_with_a_meaning_in_sql_or_json_paths_are_refused(name: str) -> None:
    with pytest.raises(SchemaInvalid):
        Table("lists", [Column.text(name)])
    with pytest.raises(SchemaInvalid):
        Table(name, [])
    with pytest.raises(SchemaInvalid):
        Table("lists", [Column.text("a")], indexes={name: ["a"]})


@pytest.mark.parametrize("name", ["ps_crud", "PS_x", "sqlite_x"])
def test_reserved_names_are_refused_for_tables_and_views(name: str) -> None:
    with pytest.raises(SchemaInvalid, match="reserved"):
        Table(name, [])
    with pytest.raises(SchemaInvalid, match="reserved"):
        Table("lists", [], view_name=name)


def test_the_limit_of_columns_is_reached_and_not_passed() -> None:
    columns = [Column.text(f"c{i}") for i in range(COLUMNS_MAX)]
    assert len(Table("wide", columns).columns) == COLUMNS_MAX
    with pytest.raises(SchemaInvalid, match="at most 1999"):
        Table("wide", [*columns, Column.text("more")])


def test_an_index_names_columns_of_its_table() -> None:
    table = Table("lists", [Column.text("a"), Column.integer("b")], indexes={"by": ["a", "-b"]})
    assert [(key.column.name, key.ascending) for key in table.indexes[0].columns] == [("a", True), ("b", False)]
    with pytest.raises(SchemaInvalid, match='"c"') as caught:
        Table("lists", [Column.text("a")], indexes={"by": ["c"]})
    assert "a" in caught.value.hint


@pytest.mark.parametrize("keys", [[], "a"])
def test_an_index_needs_a_list_of_columns(keys: list[str] | str) -> None:
    with pytest.raises(SchemaInvalid, match="no list of columns"):
        Table("lists", [Column.text("a")], indexes={"by": keys})


def test_tracking_names_columns_of_the_table_in_their_order() -> None:
    columns = [Column.text("a"), Column.text("b")]
    assert Table("t", columns).previous_columns == ()
    assert Table("t", columns, track_previous=True).previous_columns == tuple(columns)
    assert Table("t", columns, track_previous=["b", "a"]).previous_columns == tuple(columns)
    with pytest.raises(SchemaInvalid, match="track_previous"):
        Table("t", columns, track_previous=["c"])


def test_local_only_tables_cannot_track_anything() -> None:
    with pytest.raises(SchemaInvalid, match="local_only"):
        Table("t", [Column.text("a")], local_only=True, track_metadata=True)
    with pytest.raises(SchemaInvalid, match="local_only"):
        Table("t", [Column.text("a")], local_only=True, track_previous=True)


def test_columns_that_tracking_adds_cannot_be_declared() -> None:
    with pytest.raises(SchemaInvalid, match="_metadata"):
        Table("t", [Column.text("_metadata")], track_metadata=True)


def test_two_tables_or_views_of_one_name_are_refused() -> None:
    with pytest.raises(SchemaInvalid, match="table"):
        Schema([Table("a", []), Table("A", [], view_name="b")])
    with pytest.raises(SchemaInvalid, match="view"):
        Schema([Table("a", []), Table("b", [], view_name="a")])


def test_two_indexes_of_one_name_are_refused() -> None:
    with pytest.raises(SchemaInvalid, match="index"):
        Table("t", [Column.text("a")], indexes={"by": ["a"], "BY": ["-a"]})


def test_a_table_is_found_by_its_name_or_its_views() -> None:
    table = Table("todos", [], view_name="tasks")
    schema = Schema([table, RawTable("places")])
    assert schema.table("TODOS") is schema.table("tasks") is table
    assert schema.table("places") is None
    assert [raw.name for raw in schema.raw_tables] == ["places"]


def test_raw_tables_share_the_names_of_tables_and_views() -> None:
    with pytest.raises(SchemaInvalid, match="table"):
        Schema([Table("a", []), RawTable("A", table_name="b")])
    with pytest.raises(SchemaInvalid, match="view"):
        Schema([Table("a", []), RawTable("b", table_name="A")])


@pytest.mark.parametrize("name", ["", "a b", 'a"b'])
def test_raw_tables_have_names_like_others(name: str) -> None:
    with pytest.raises(SchemaInvalid):
        RawTable(name)
    with pytest.raises(SchemaInvalid):
        RawTable("a", synced_columns=[name])


def test_what_a_raw_table_cannot_be() -> None:
    with pytest.raises(SchemaInvalid, match="reserved"):
        RawTable("a", table_name="ps_data__a")
    with pytest.raises(SchemaInvalid, match='"id"'):
        RawTable("a", synced_columns=["Id"])
    with pytest.raises(SchemaInvalid, match="put statement"):
        RawTable("a", put=RawStatement("  -- nothing\n"))
    with pytest.raises(SchemaInvalid, match="not the row id") as caught:
        RawTable("a", delete=RawStatement("DELETE FROM a WHERE name = ?", ["name"]))
    assert "ROW_ID" in caught.value.hint


def test_a_raw_table_has_the_form_of_the_field() -> None:
    table = RawTable(
        "lists",
        table_name="stored",
        put=RawStatement("INSERT INTO stored VALUES (?, ?, ?)", [ROW_ID, "name", REST]),
        delete=RawStatement("DELETE FROM stored WHERE id = ?", [ROW_ID]),
        clear="DELETE FROM stored",
        track_previous=["name"],
    )
    found = table.as_json()
    assert found["put"] == {"sql": "INSERT INTO stored VALUES (?, ?, ?)", "params": ["Id", {"Column": "name"}, "Rest"]}
    assert found["include_old"] == ["name"]
    assert RawTable.from_json(found).as_json() == found
    with pytest.raises(SchemaInvalid, match="unknown parameter"):
        RawTable.from_json(found | {"put": {"sql": "x", "params": ["Name"]}})


def test_local_only_wins_over_insert_only() -> None:
    table = Table("t", [], local_only=True, insert_only=True)
    assert table.local_only
    assert not table.insert_only
    assert table.internal_name == "ps_data_local__t"
