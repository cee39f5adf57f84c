"""Advice about schemas."""

from __future__ import annotations

import pytest

from syncline.client.schema import Column, RawTable, Schema, Table
from syncline.client.schema_lint import LintRule, Severity, lint_schema


def rules(*tables: Table | RawTable) -> list[LintRule]:
    return [note.rule for note in lint_schema(Schema(tables))]


def columns(*names: str) -> list[Column]:
    return [Column.text(name) for name in names]


@pytest.mark.requirement(89)
def test_a_join_table_without_an_index_over_both_ids_is_told() -> None:
    [note] = lint_schema(Schema([Table("members", columns("user_id", "team_id", "role"))]))
    assert (note.rule, note.severity, note.table) == (LintRule.JOIN_TABLE_NOT_UNIQUE, Severity.WARNING, "members")
    assert "UNIQUE (user_id, team_id)" in note.hint
    assert str(note).startswith("warning: members: It joins rows by user_id, team_id")


@pytest.mark.requirement(89)
@pytest.mark.parametrize(
    "table",
    [
        Table("members", columns("user_id", "team_id"), indexes={"by_both": ["team_id", "-user_id"]}),
        Table("members", columns("user_id", "team_id"), local_only=True),
        Table("orders", columns("user_id", "team_id", "a", "b", "c")),  # a thing of its own that names two others
        Table("todos", columns("list_id", "title")),
    ],
)
def test_other_tables_are_no_join_tables(table: Table) -> None:
    assert rules(table) == []


@pytest.mark.requirement(90)
def test_references_are_noted_as_not_enforced_and_want_an_index() -> None:
    lists = Table("lists", columns("name"))
    assert rules(lists, Table("todos", columns("title", "list_id"))) == [
        LintRule.REFERENCE_NOT_INDEXED,
        LintRule.REFERENCE_NOT_ENFORCED,
    ]
    indexed = Table("todos", columns("title", "list_id"), indexes={"by_list": ["list_id"]})
    [note] = lint_schema(Schema([lists, indexed]))
    assert note.rule is LintRule.REFERENCE_NOT_ENFORCED
    assert "foreign key in the source is fine" in note.hint


def test_plurals_are_understood() -> None:
    for table, column in (("categories", "category_id"), ("boxes", "box_id"), ("team", "team_id")):
        assert LintRule.REFERENCE_NOT_ENFORCED in rules(Table(table, []), Table("things", columns("a", column)))


@pytest.mark.requirement(91, 92)
def test_times_and_booleans_have_helpers() -> None:
    table = Table("todos", [Column.integer("made_at"), Column.text("is_done"), Column.datetime("seen_at")])
    assert rules(table) == [LintRule.TIME_AS_NUMBER, LintRule.TRUTH_AS_TEXT]


@pytest.mark.parametrize(
    ("table", "option"),
    [
        (Table("a", columns("b"), insert_only=True, indexes={"i": ["b"]}), "indexes"),
        (Table("a", columns("b"), insert_only=True, track_previous=True), "track_previous"),
        (Table("a", columns("b"), insert_only=True, ignore_empty_updates=True), "ignore_empty_updates"),
        (Table("a", columns("b"), local_only=True, ignore_empty_updates=True), "ignore_empty_updates"),
        (Table("a", columns("b"), track_previous_only_when_changed=True), "track_previous_only_when_changed"),
    ],
)
def test_options_without_effect_are_told(table: Table, option: str) -> None:
    [note] = lint_schema(Schema([table]))
    assert note.rule is LintRule.OPTION_WITHOUT_EFFECT
    assert note.message.startswith(option)


def test_raw_tables_say_what_they_leave_out() -> None:
    assert rules(RawTable("a")) == [LintRule.RAW_NOT_CAPTURED, LintRule.RAW_NOT_CLEARED]
    assert rules(RawTable("a", capture=True, clear="DELETE FROM a")) == []
