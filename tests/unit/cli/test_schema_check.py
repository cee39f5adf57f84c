"""The rules of `check schema` and `check policies`: each finds its drift, and nothing where the sides agree."""

from __future__ import annotations

import json

import pytest

from syncline.backend.policies import TablePolicy
from syncline.cli.schema_check.alignment import Alignment, DeviceColumn, DeviceTable, SourceDemands
from syncline.cli.schema_check.allowing import allow
from syncline.cli.schema_check.findings import Finding, Rule, Severity
from syncline.cli.schema_check.owner_rules import owner_findings
from syncline.cli.schema_check.policy_rules import policy_findings
from syncline.cli.schema_check.report import SchemaReport
from syncline.cli.schema_check.rules import schema_findings
from syncline.cli.schema_check_inputs.synced_queries import synced_queries
from syncline.cli.schema_generation.model import ColumnKind, ValueTypes
from syncline.cli.schema_generation.source_columns import SourceColumn, SourceColumns, SourceTableColumns
from syncline.cli.schema_generation.tables import client_tables
from syncline.sync_config import compile_sync_config

TEXT, INTEGER, REAL = ColumnKind.TEXT, ColumnKind.INTEGER, ColumnKind.REAL
_TYPES = {
    "bytea": ValueTypes.BLOB,
    "text": ValueTypes.TEXT,
    "int8": ValueTypes.INTEGER,
    "bool": ValueTypes.INTEGER,
    "float8": ValueTypes.REAL,
}


def config(*queries: str) -> str:
    streams = "".join(f"  s{number}:\n    query: {query}\n" for number, query in enumerate(queries))
    return f"config: {{edition: 3}}\nstreams:\n{streams}"


def source(**tables: dict[str, str]) -> SourceColumns:
    return SourceColumns(
        tuple(
            SourceTableColumns("public", name, tuple(SourceColumn(c, _TYPES[t], t) for c, t in columns.items()))
            for name, columns in tables.items()
        )
    )


def table(name: str, *columns: DeviceColumn, local_only: bool = False, insert_only: bool = False) -> DeviceTable:
    return DeviceTable(name, columns, local_only=local_only, insert_only=insert_only)


LISTS = {"id": "text", "name": "text", "done": "bool", "owner_id": "text"}
MINE = "SELECT * FROM lists WHERE owner_id = auth.user_id()"
AGREEING = table("lists", DeviceColumn("name", TEXT), DeviceColumn("done", INTEGER), DeviceColumn("owner_id", TEXT))
UNIQUE_ID = {("public", "lists"): [frozenset({"id"})]}


def found(
    *device: DeviceTable,
    queries: tuple[str, ...] = (MINE,),
    tables: SourceColumns | None = None,
    demands: SourceDemands | None = None,
) -> list[tuple[str, str, str]]:
    text = config(*queries)
    known = tables or source(lists=LISTS)
    plan = compile_sync_config(text)
    alignment = Alignment(device, client_tables(text, known).tables, synced_queries(plan), known, demands)
    return [(f.rule.value, f.table, f.column) for f in schema_findings(alignment)]


def test_nothing_is_found_where_all_sides_agree() -> None:
    assert found(AGREEING, demands=SourceDemands(unique=UNIQUE_ID)) == []
    assert found(AGREEING, table("drafts", DeviceColumn("x", TEXT), local_only=True)) == []


@pytest.mark.requirement(161)
def test_a_table_that_one_side_lacks() -> None:
    assert found() == [("table-not-on-device", "lists", "")]
    assert found(AGREEING, table("todos")) == [("table-not-synced", "todos", "")]
    assert found(AGREEING, table("audit", insert_only=True)) == []
    both = (MINE, "SELECT * FROM tasks")
    assert ("table-not-in-source", "tasks", "") in found(AGREEING, table("tasks"), queries=both)


@pytest.mark.requirement(161)
def test_a_column_that_one_side_lacks_and_one_that_never_arrives() -> None:
    short = table("lists", DeviceColumn("name", TEXT), DeviceColumn("owner_id", TEXT))
    assert found(short) == [("column-not-on-device", "lists", "done")]
    selected = ("SELECT id, name, owner_id FROM lists WHERE owner_id = auth.user_id()",)
    assert found(AGREEING, queries=selected) == [("column-never-arrives", "lists", "done")]
    more = table("lists", *AGREEING.columns, DeviceColumn("colour", TEXT))
    assert found(more) == [("column-never-arrives", "lists", "colour")]


def test_bytes_are_not_sent_but_as_text() -> None:
    tables = source(lists={"id": "text", "photo": "bytea"})
    device = table("lists", DeviceColumn("photo", TEXT))
    assert found(device, queries=("SELECT * FROM lists",), tables=tables) == [
        ("column-never-arrives", "lists", "photo")
    ]
    assert found(table("lists"), queries=("SELECT * FROM lists",), tables=tables) == []
    encoded = ("SELECT id, base64(photo) AS photo FROM lists",)
    assert found(device, queries=encoded, tables=tables) == []


def test_names_are_compared_as_sqlite_does() -> None:
    shouting = table("LISTS", DeviceColumn("NAME", TEXT), DeviceColumn("Done", INTEGER), DeviceColumn("Owner_Id", TEXT))
    assert found(shouting) == []


@pytest.mark.requirement(161)
@pytest.mark.parametrize(("kind", "differs"), [(INTEGER, False), (TEXT, True), (REAL, True), (None, False)])
def test_a_type_that_is_not_what_arrives(kind: ColumnKind | None, differs: bool) -> None:
    device = table("lists", DeviceColumn("name", TEXT), DeviceColumn("done", kind), DeviceColumn("owner_id", TEXT))
    assert found(device) == ([("type-differs", "lists", "done")] if differs else [])


def test_a_cast_in_the_stream_changes_what_arrives() -> None:
    cast = ("SELECT id, name, CAST(done AS TEXT) AS done, owner_id FROM lists WHERE owner_id = auth.user_id()",)
    assert found(AGREEING, queries=cast) == [("type-differs", "lists", "done")]


@pytest.mark.requirement(163)
def test_a_null_that_the_source_refuses_is_reported_but_for_owners() -> None:
    required = frozenset(("public", "lists", column) for column in ("id", "name", "owner_id"))
    demands = SourceDemands(required, UNIQUE_ID)
    assert found(AGREEING, demands=demands) == [("null-differs", "lists", "name")]
    columns = (DeviceColumn("name", TEXT, nullable=False), DeviceColumn("done", INTEGER, nullable=False))
    raw = table("lists", *columns, DeviceColumn("owner_id", TEXT))
    assert found(raw, demands=demands) == [("null-differs", "lists", "done")]


def test_rows_need_an_id_that_is_theirs_alone() -> None:
    without = ("SELECT name, done, owner_id FROM lists WHERE owner_id = auth.user_id()",)
    assert ("id-missing", "lists", "id") in found(AGREEING, queries=without)
    keyless = source(lists={key: kind for key, kind in LISTS.items() if key != "id"})
    assert ("id-missing", "lists", "id") in found(AGREEING, tables=keyless)
    both = {("public", "lists"): [frozenset({"id", "owner_id"})]}
    assert found(AGREEING, demands=SourceDemands(unique=both)) == [("id-not-unique", "lists", "id")]


@pytest.mark.requirement(89)
def test_a_table_that_joins_others_wants_a_unique_index() -> None:
    members = {"id": "text", "list_id": "text", "user_id": "text", "role": "text"}
    device = table("members", *(DeviceColumn(name, TEXT) for name in members if name != "id"))
    query = ("SELECT * FROM members WHERE user_id = auth.user_id()",)
    key = frozenset({"id"})
    for indexes, expected in (
        ([key], [("pair-not-unique", "members", "")]),
        ([key, frozenset({"list_id", "user_id"})], []),
    ):
        demands = SourceDemands(unique={("public", "members"): indexes})
        assert found(device, queries=query, tables=source(members=members), demands=demands) == expected


def test_a_wildcard_goes_into_a_table_for_each_of_the_source() -> None:
    tables = source(logs_a={"id": "text", "x": "text"}, logs_b={"id": "text", "x": "int8"})
    device = (table("logs_a", DeviceColumn("x", TEXT)), table("logs_b", DeviceColumn("x", TEXT)))
    assert found(*device, queries=('SELECT * FROM "logs_%"',), tables=tables) == [("type-differs", "logs_b", "x")]


@pytest.mark.requirement(158)
def test_a_table_without_an_owner_of_its_own_is_advised_of() -> None:
    through = "SELECT * FROM todos WHERE list_id IN (SELECT id FROM lists WHERE owner_id = auth.user_id())"
    advised = owner_findings(compile_sync_config(config(MINE, through)))
    assert [(f.rule, f.severity, f.table) for f in advised] == [(Rule.NO_OWNER_COLUMN, Severity.ADVICE, "todos")]
    assert owner_findings(compile_sync_config(config(MINE))) == ()


@pytest.mark.requirement(138)
def test_an_owner_that_the_backend_does_not_fill_fails_the_check() -> None:
    plan = compile_sync_config(config(MINE))
    forgotten = policy_findings(plan, {"lists": TablePolicy(owner=None)})
    assert [(f.rule, f.severity, f.column) for f in forgotten] == [
        (Rule.OWNER_NOT_INJECTED, Severity.DRIFT, "owner_id")
    ]
    assert policy_findings(plan, {"lists": TablePolicy(owner="owner_id")}) == ()


def finding(
    rule: Rule, table_name: str = "lists", column: str = "name", *, severity: Severity = Severity.DRIFT
) -> Finding:
    return Finding(rule, severity, table_name, column, "It differs.", "Mend it.")


@pytest.mark.requirement(163)
@pytest.mark.parametrize(
    ("entry", "allows"),
    [
        ("lists", True),
        ("lists.name", True),
        ("*.name", True),
        ("LISTS.Name", True),
        ("null-differs", True),
        ("null-differs:lists.name", True),
        ("null-differs:*", True),
        ("lists.done", False),
        ("todos", False),
        ("type-differs", False),
        ("type-differs:lists.name", False),
    ],
)
def test_what_an_allow_list_allows(entry: str, allows: bool) -> None:
    result = allow([finding(Rule.NULL_DIFFERS)], [entry])
    assert (result.left == (), result.count, result.unused == ()) == (allows, int(allows), allows)


@pytest.mark.requirement(161)
def test_the_result_as_json_and_when_it_fails() -> None:
    advice = finding(Rule.NULL_DIFFERS, severity=Severity.ADVICE)
    report = SchemaReport(allow([finding(Rule.TYPE_DIFFERS), advice], ["todos"]), ("A note.",))
    value = json.loads(json.dumps(report.as_value()))
    assert value["passed"] is False
    assert [entry["rule"] for entry in value["drift"]] == ["type-differs"]
    assert [entry["column"] for entry in value["advice"]] == ["name"]
    assert (value["unused_allow"], value["notes"]) == (["todos"], ["A note."])
    assert SchemaReport(allow([advice], [])).passed
    assert not SchemaReport(allow([advice], []), is_strict=True).passed
    text = report.as_text("Device")
    assert text.startswith("✗ Device\n  • [drift] lists.name: It differs. [type-differs]\n    Mend it.")
    assert "--allow todos allows nothing" in text
