"""The document around the queries: options, settings, names, comments, events, notes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from syncline.errors import SyncConfigError
from syncline.sync_config import compile_sync_config
from syncline.sync_config.migration import MigrationNote, migrate_to_streams
from syncline.sync_config.problems import Problem, ProblemKind, Severity
from tests.unit.sync_config.migration.test_queries import rules

FIXTURES = Path(__file__).parents[3] / "fixtures/sync_config/migration"
GOLDEN = sorted(path.name.removesuffix(".before.yaml") for path in FIXTURES.glob("*.before.yaml"))


def refusal(text: str) -> Problem:
    """The only problem of a config that cannot be migrated."""
    with pytest.raises(SyncConfigError) as caught:
        migrate_to_streams(text)
    (problem,) = caught.value.problems
    assert isinstance(problem, Problem)
    assert problem.severity is Severity.FATAL
    return problem


@pytest.mark.requirement(174)
@pytest.mark.parametrize("name", GOLDEN)
def test_a_config_becomes_the_recorded_one(name: str) -> None:
    migration = migrate_to_streams((FIXTURES / f"{name}.before.yaml").read_text("utf-8"))
    assert migration.text == (FIXTURES / f"{name}.after.yaml").read_text("utf-8")
    assert "".join(f"{note}\n" for note in migration.notes) == (FIXTURES / f"{name}.notes.txt").read_text("utf-8")


def test_there_are_recorded_configs() -> None:
    assert len(GOLDEN) >= 3


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", {"edition": 3, "timestamps_iso8601": False, "fixed_json_extract": False, "custom_postgres_types": False}),
        ("config: {edition: 2}\n", {"edition": 3}),
        ("config: {edition: 2, fixed_json_extract: false}\n", {"edition": 3, "fixed_json_extract": False}),
        (
            "config: {timestamps_iso8601: true, timestamp_max_precision: seconds}\n",
            {
                "edition": 3,
                "fixed_json_extract": False,
                "custom_postgres_types": False,
                "timestamp_max_precision": "seconds",
            },
        ),
    ],
)
def test_options_keep_values_as_they_are(before: str, after: dict[str, object]) -> None:
    text = rules("", "SELECT id FROM t", before)
    migration = migrate_to_streams(text)
    assert yaml.safe_load(migration.text)["config"] == after
    assert compile_sync_config(text).value_format == compile_sync_config(migration.text).value_format


def test_settings_of_a_definition_are_kept() -> None:
    text = """
bucket_definitions:
  a:
    priority: 0
    accept_potentially_dangerous_queries: true
    parameters: SELECT user_parameters.x AS x
    data:
      - SELECT id FROM t WHERE x = bucket.x
  "true":
    data: []
"""
    migration = migrate_to_streams(text)
    streams = yaml.safe_load(migration.text)["streams"]
    assert {key: value for key, value in streams["a"].items() if key != "query"} == {
        "auto_subscribe": True,
        "priority": 0,
        "accept_potentially_dangerous_queries": True,
    }
    assert streams["true"] == {"auto_subscribe": True, "queries": []}
    assert compile_sync_config(migration.text).warnings == ()


def test_parameter_queries_of_different_priorities_become_streams() -> None:
    text = """
bucket_definitions:
  a:
    parameters:
      - SELECT request.user_id() AS u, 1 AS _priority
      - SELECT friend AS u FROM friends WHERE me = request.user_id()
    data:
      - SELECT id FROM t WHERE x = bucket.u
  a_priority_1:
    data: []
"""
    migration = migrate_to_streams(text)
    streams = yaml.safe_load(migration.text)["streams"]
    assert {name: stream.get("priority") for name, stream in streams.items()} == {
        "a_priority_1_": 1,
        "a_priority_3": None,
        "a_priority_1": None,
    }
    assert any("it became the streams a_priority_1_, a_priority_3" in note.text for note in migration.notes)


def test_texts_that_a_block_could_not_hold_are_quoted() -> None:
    text = rules("", "SELECT id FROM t WHERE a = 'x\n  y ' AND b = 'tab\there' AND c = '\u2028'")
    migrated = yaml.safe_load(migrate_to_streams(text).text)["streams"]["d"]["query"]
    assert "'x\n  y '" in migrated
    assert "'tab\there'" in migrated
    assert "'\u2028'" in migrated


def test_a_config_of_edition_3_is_given_back() -> None:
    text = "config: {edition: 3}\nstreams: {s: {query: SELECT id FROM t}}\n"
    migration = migrate_to_streams(text)
    assert migration.text == text
    assert migration.notes == (MigrationNote("", 1, "The config has edition 3 already; nothing was changed."),)


def test_an_empty_block_of_definitions_becomes_an_empty_block_of_streams() -> None:
    assert yaml.safe_load(migrate_to_streams("bucket_definitions: {}").text)["streams"] == {}


def test_what_does_not_compile_is_refused_as_it_is() -> None:
    with pytest.raises(SyncConfigError) as caught:
        migrate_to_streams(rules("", "SELECT name FROM t"))
    assert [problem.kind for problem in caught.value.problems] == [ProblemKind.ID_MISSING]


@pytest.mark.parametrize(
    ("parameters", "data", "kind", "says", "place"),
    [
        pytest.param(
            "", "SELECT id, json_valid(x) AS v FROM t", ProblemKind.UNKNOWN_FUNCTION, "Streams have no json_valid()", "json_valid",
            id="a function that streams do not have",
        ),
        pytest.param(
            "SELECT value || request.user_id() AS p FROM json_each(request.jwt() -> 'x')", "SELECT id FROM t WHERE a = bucket.p",
            ProblemKind.MIXED_SOURCES, "This cannot be written as a stream: this condition mixes", "value || ",
            id="an element of a list together with the user",
        ),
        pytest.param(
            "", 'SELECT id FROM "other.public".t', ProblemKind.UNSUPPORTED_EXPRESSION, '"other" is no connection of the source', "other",
            id="a connection that is not there",
        ),
        pytest.param(
            "", 'SELECT id FROM "default.a.b".t', ProblemKind.UNSUPPORTED_EXPRESSION, 'The schema "a.b" has a dot', "a.b",
            id="a schema with a dot",
        ),
        pytest.param(
            'SELECT token_parameters."a.b" AS p', "SELECT id FROM t WHERE a = bucket.p",
            ProblemKind.UNSUPPORTED_EXPRESSION, 'token_parameters."a.b" cannot be written as a path', "a.b",
            id="a claim whose name has a dot",
        ),
        pytest.param(
            "SELECT request.user_id() AS u", "SELECT id FROM auth WHERE a = bucket.u",
            ProblemKind.UNKNOWN_FUNCTION, "This cannot be written as a stream", "FROM auth",
            id="a table whose name hides the token",
        ),
    ],
)  # fmt: skip
def test_what_streams_cannot_say_is_refused_with_its_place(
    parameters: str, data: str, kind: ProblemKind, says: str, place: str
) -> None:
    text = rules(parameters, data)
    problem = refusal(text)
    assert (problem.kind, problem.message[: len(says)]) == (kind, says)
    assert place in text[problem.start_offset : problem.end_offset].replace('\\"', '"')
    assert problem.hint


def test_all_queries_that_cannot_be_migrated_are_told_each_once() -> None:
    text = """
bucket_definitions:
  a:
    parameters:
      - SELECT value || request.user_id() AS p FROM json_each(request.jwt() -> 'x')
      - SELECT request.user_id() AS p
    data:
      - SELECT id FROM t WHERE x = bucket.p
      - SELECT id FROM u WHERE x = bucket.p AND json_valid(y)
  b:
    data:
      - SELECT id FROM t WHERE json_valid(y)
"""
    with pytest.raises(SyncConfigError) as caught:
        migrate_to_streams(text)
    assert [problem.line for problem in caught.value.problems] == [5, 9, 12]


def test_a_definition_with_too_many_pairs_of_queries_is_refused() -> None:
    parameters = [f"SELECT request.jwt() ->> 'k{number}' AS p" for number in range(101)]
    problem = refusal(rules(parameters, "SELECT id FROM t WHERE x = bucket.p"))
    assert problem.kind is ProblemKind.TOO_MANY_BUCKET_SOURCES
    assert problem.source_line.strip() == "d:"


def test_new_warnings_are_told() -> None:
    text = rules(
        "SELECT id AS l FROM lists WHERE id = request.parameters() ->> 'l' AND request.user_id() IS NOT NULL",
        "SELECT id FROM todos WHERE list_id = bucket.l",
    )
    assert compile_sync_config(text).warnings == ()
    migration = migrate_to_streams(text)
    (warning,) = compile_sync_config(migration.text).warnings
    assert any(warning.message in note.text for note in migration.notes)


def test_data_queries_that_overlap_are_told() -> None:
    data = ["SELECT id, a FROM t WHERE x = bucket.u", "SELECT id, b FROM t WHERE y = bucket.u"]
    notes = migrate_to_streams(rules("SELECT request.user_id() AS u", data)).notes
    assert any("several buckets" in note.text for note in notes)
    notes = migrate_to_streams(rules("SELECT request.user_id() AS u", data[:1])).notes
    assert not any("several buckets" in note.text for note in notes)
