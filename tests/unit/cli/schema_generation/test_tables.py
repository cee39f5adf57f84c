"""Which tables, columns and types a device gets of a sync config."""

from __future__ import annotations

import pytest

from syncline.cli.schema_generation.model import ClientColumn, ClientTables
from syncline.cli.schema_generation.tables import client_tables, config_hash
from syncline.errors import SyncConfigError
from tests.unit.cli.schema_generation.sources import STREAMS, source, tables_of

ALL = "id uuid, i int4, r float8, s text, b bytea, flag bool, j jsonb, n numeric"


def stream(*queries: str, name: str = "a") -> str:
    listed = "".join(f"      - |\n        {query}\n" for query in queries)
    return f"  {name}:\n    auto_subscribe: true\n    queries:\n{listed}"


def columns(found: ClientTables, table: str) -> dict[str, str]:
    """Names and kinds of a table's columns."""
    (one,) = (one for one in found.tables if one.name == table)
    return {column.name: str(column.kind) for column in one.columns}


@pytest.mark.requirement(199)
@pytest.mark.parametrize(
    ("expression", "kind"),
    [
        ("i + 1", "integer"),
        ("i + r", "real"),
        ("i / 2", "integer"),
        ("s + 1", "real"),
        ("i % 2", "integer"),
        ("i & 1", "integer"),
        ("s || i", "text"),
        ("r > 1", "integer"),
        ("i IS NULL", "integer"),
        ("NOT i", "integer"),
        ("i BETWEEN 1 AND 2", "integer"),
        ("cast(s AS integer)", "integer"),
        ("cast(i AS numeric)", "real"),
        ("cast(i AS text)", "text"),
        ("cast(i AS blob)", "text"),
        ("j ->> 'a'", "text"),
        ("iif(i, i, r)", "real"),
        ("ifnull(i, s)", "text"),
        ("ifnull(i, NULL)", "integer"),
        ("CASE WHEN i THEN i ELSE r END", "real"),
        ("CASE WHEN i THEN 1 ELSE 'x' END", "text"),
        ("NULL", "text"),
        ("1", "integer"),
        ("1.5", "real"),
        ("'x'", "text"),
        ("length(s)", "integer"),
        ("upper(s)", "text"),
        ("st_x(b)", "real"),
        ("unixepoch(s)", "real"),
        ("b", "text"),
        ("unknown_column", "text"),
    ],
)
def test_the_kind_of_an_expression(expression: str, kind: str) -> None:
    found = tables_of(stream(f"SELECT id, {expression} AS x FROM t"), t=ALL)
    assert columns(found, "t") == {"x": kind}


def test_a_table_has_the_name_that_its_query_gives_it_and_never_an_id() -> None:
    found = tables_of(stream("SELECT id, s AS title FROM t AS notes", "SELECT * FROM u"), t=ALL, u="id text, ID2 int4")
    assert columns(found, "notes") == {"title": "text"}
    assert columns(found, "u") == {"ID2": "integer"}


def test_queries_of_one_table_are_put_together() -> None:
    found = tables_of(stream("SELECT id, i AS v FROM t", "SELECT id, s AS v, r FROM t"), t=ALL)
    assert columns(found, "t") == {"v": "text", "r": "real"}


def test_later_columns_of_a_query_win() -> None:
    assert columns(tables_of(stream("SELECT *, 'x' AS i FROM t"), t="id text, i int4"), "t") == {"i": "text"}


def test_a_wildcard_gives_each_table_and_its_alias_one() -> None:
    tables = {"w_1": "id text, v int4", "w_2": "id text, v text, w int4", "other": "id text, x text"}
    found = tables_of(stream('SELECT * FROM "w_%"'), **tables)
    assert [table.name for table in found.tables] == ["w_1", "w_2"]
    found = tables_of(stream('SELECT * FROM "w_%" AS w'), **tables)
    assert columns(found, "w") == {"v": "text", "w": "integer"}


def test_sync_rules_leave_out_columns_that_begin_with_an_underscore() -> None:
    rules = "bucket_definitions:\n  a:\n    data:\n      - SELECT * FROM t\n"
    found = client_tables(rules, source(t="id text, _hidden text, shown text"))
    assert columns(found, "t") == {"shown": "text"}
    assert found.streams == ()


def test_a_table_that_is_not_there_gives_none_and_a_note() -> None:
    found = tables_of(stream("SELECT * FROM t", "SELECT * FROM nowhere"), t=ALL)
    assert [table.name for table in found.tables] == ["t"]
    assert any("nowhere" in note for note in found.notes)


def test_names_that_differ_in_case_only_are_one_table() -> None:
    found = tables_of(stream("SELECT id, i FROM t AS mg", 'SELECT id, r FROM t AS "MG"'), t=ALL)
    assert columns(found, "mg") == {"i": "integer", "r": "real"}
    assert any("differ in case" in note for note in found.notes)


def test_the_source_s_own_types_are_kept_where_all_rows_have_the_same() -> None:
    queries = ("SELECT id, flag, i = 1 AS one, i AS v FROM t", "SELECT id, s AS v FROM t")
    (table,) = tables_of(stream(*queries), t=ALL).tables
    assert {column.name: column.declared for column in table.columns} == {"flag": "bool", "one": "bool", "v": ""}


def test_without_the_source_only_columns_that_the_config_names_are_known() -> None:
    config = stream("SELECT * FROM lists WHERE owner_id = auth.user_id()", 'SELECT * FROM "w_%"')
    found = tables_of(config)
    (lists,) = found.tables
    assert [(column.name, column.kind) for column in lists.columns] == [("owner_id", "text")]
    assert not found.typed
    assert len(found.notes) == 2


def test_an_engine_that_the_config_asks_for_hides_no_types() -> None:
    text = STREAMS.replace("edition: 3\n", "edition: 3\n  unstable_sqlite_expression_engine: true\n")
    found = client_tables(text + stream("SELECT id, i + 1 AS more FROM t"), source(t=ALL))
    assert columns(found, "t") == {"more": "integer"}


def test_a_config_that_cannot_be_used_is_refused_with_all_its_problems() -> None:
    with pytest.raises(SyncConfigError) as refused:
        tables_of(stream("SELEC * FROM t", "SELECT nothing(s) FROM t"), t=ALL)
    assert len(refused.value.problems) >= 2


def test_the_hash_is_of_the_text_and_not_of_its_line_ends() -> None:
    assert config_hash("a:\n  b\n") == config_hash("a:\r\n  b")
    assert config_hash("a:\n  b\n") != config_hash("a:\n  c\n")


def test_columns_of_the_same_name_in_other_case_are_one() -> None:
    (table,) = tables_of(stream('SELECT id, i AS "Total" FROM t', "SELECT id, r AS total FROM t"), t=ALL).tables
    assert [(column.name, column.kind) for column in table.columns] == [("Total", "real")]
    assert isinstance(table.columns[0], ClientColumn)
