"""How commands speak: forms of results, places of findings, failures and their exit codes, questions, sections of files."""

from __future__ import annotations

import json

import pytest
import typer
import yaml

from syncline.cli import output
from syncline.cli.commands.status import is_replicating
from syncline.cli.docker.yaml_sections import with_section
from syncline.cli.exit_codes import CommandFailed, ServiceUnreachable, failures_told
from syncline.cli.output import Output, as_json, as_yaml, confirmed, write_result
from syncline.cli.validation.results import CheckResult, as_value, placed, skipped
from syncline.errors import ConfigError

VALUE = {"b": [{"name": "ä", "n": 1}], "a": None, "empty": []}


def test_a_result_is_written_in_three_forms(capsys: pytest.CaptureFixture[str]) -> None:
    write_result(VALUE, Output.JSON, lambda: "for people")
    assert json.loads(capsys.readouterr().out) == VALUE
    write_result(VALUE, Output.YAML, lambda: "for people")
    assert capsys.readouterr().out.startswith("b:\n  - name: ä\n    n: 1\na: null\n")
    write_result(VALUE, Output.HUMAN, lambda: "for people")
    assert capsys.readouterr().out == "for people\n"
    assert yaml.safe_load(as_yaml(VALUE)) == json.loads(as_json(VALUE)) == VALUE


@pytest.mark.parametrize(
    ("failure", "unreachable", "code"),
    [
        (CommandFailed("It does not work."), 3, 1),
        (CommandFailed("It does not work.", exit_code=2), 3, 2),
        (ServiceUnreachable("It does not work."), 3, 3),
        (ServiceUnreachable("It does not work."), 1, 1),  # as the official command says
        (ConfigError("It does not work."), 3, 1),
    ],
)
def test_a_failure_is_told_on_standard_error(
    failure: Exception, unreachable: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, failures_told(unreachable=unreachable):
        raise failure
    assert ended.value.exit_code == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Error: ")
    assert "It does not work." in captured.err


def test_nobody_is_asked_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: False)
    confirmed("Really?", yes=True)
    with pytest.raises(CommandFailed, match="Nobody can be asked here"):
        confirmed("Really?", yes=False)


def test_the_answer_at_a_terminal_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    answers = iter([True, False])
    monkeypatch.setattr(typer, "confirm", lambda _question, err: next(answers))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]  # as typer calls it
    confirmed("Really?", yes=False)
    with pytest.raises(CommandFailed, match="Nothing was done"):
        confirmed("Really?", yes=False)


@pytest.mark.parametrize(
    ("offset", "told"),
    [
        (0, "[Line 1, Column 1]: x\nab\n^"),
        (4, "[Line 2, Column 2]: x\n cd\n ^"),
        (6, "[Line 2, Column 4]: x\n cd\n   ^"),  # behind the last letter
        (7, "[Line 3, Column 1]: x\n\n^"),
        (None, "x"),
        (8, "x"),
        (-1, "x"),
    ],
)
def test_a_finding_is_placed(offset: int | None, told: str) -> None:
    assert placed("x", "ab\n cd\n", offset) == told


def test_a_check_passes_where_it_finds_no_error() -> None:
    results = [skipped("connections"), CheckResult("sync-config", ["wrong"], ["careful"])]
    assert as_value(results) == {
        "passed": False,
        "tests": [
            {
                "id": "connections",
                "name": "Test Connections",
                "passed": True,
                "warnings": ["Test skipped based on input flags."],
            },
            {
                "id": "sync-config",
                "name": "Validate Sync Config",
                "errors": ["wrong"],
                "passed": False,
                "warnings": ["careful"],
            },
        ],
    }


@pytest.mark.requirement(242)
def test_replicating_is_connected_and_copied_with_nothing_to_come() -> None:
    good = {
        "connections": [{"connected": True}],
        "active_sync_rules": {"connections": [{"initial_replication_done": True}]},
    }
    assert is_replicating(good)
    assert not is_replicating({})
    assert not is_replicating(good | {"connections": [{"connected": False}]})
    assert not is_replicating(good | {"active_sync_rules": {"connections": [{"initial_replication_done": False}]}})
    assert not is_replicating(good | {"deploying_sync_rules": {"connections": []}})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", "b: 2\n"),
        ("a: 1", "a: 1\nb: 2\n"),
        ("a: 1\nb:\n  c: 3\n\n  d: 4\n# of e\ne: 5\n", "a: 1\nb: 2\n# of e\ne: 5\n"),
        ("b:\n- 1\n- 2\n\ne: 5\n", "b: 2\n\ne: 5\n"),
        ("bb: 1\n  b: 1\n", "bb: 1\n  b: 1\nb: 2\n"),
        ("b: 1 # last\n", "b: 2\n"),
    ],
)
def test_a_section_of_a_file_is_replaced_and_comments_elsewhere_stay(text: str, result: str) -> None:
    assert with_section(text, "b", "b: 2\n") == result
