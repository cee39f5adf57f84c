"""The table of commands: words that begin those of others, lists, and that every command can be loaded."""

from __future__ import annotations

import sys

import pytest

from syncline.cli.exit_codes import EXIT_FAILED, EXIT_USAGE
from syncline.cli.lazy_groups import Command, CommandTable
from syncline.cli.main import COMMANDS, GROUPS, TABLE, main


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_every_command_can_be_loaded_and_has_a_line_of_help(command: Command) -> None:
    loaded = command.load()
    assert command.help
    assert loaded.help
    assert len(command.help) < 80  # one line of a list


def test_every_group_has_a_line_of_help() -> None:
    groups = {command.words.rpartition(" ")[0] for command in COMMANDS if " " in command.words}
    assert [group for group in groups if not TABLE.help_line(group)] == []
    assert [group for group in GROUPS if not TABLE.names(group, hidden=True)] == []


def test_the_longest_words_that_begin_a_line_are_meant() -> None:
    table = CommandTable([Command("a", "m:f", "A."), Command("a b", "m:g", "B.", EXIT_FAILED)], {})
    assert [
        command.words if command else "" for command in map(table.of_line, (["a"], ["a", "x"], ["a", "b", "c"], []))
    ] == [
        "a",
        "a",
        "a b",
        "",
    ]
    assert table.names("") == ["a"]
    assert table.names("a") == ["b"]
    assert table.help_line("a") == "A."


def test_two_commands_with_the_same_words_are_a_mistake() -> None:
    with pytest.raises(AssertionError):
        CommandTable([Command("a", "m:f", "A."), Command("a", "m:g", "B.")], {})


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (("init", "--help"), 0, "See also: init self-hosted"),
        (("init", "self-hosted", "--help"), 0, "--template"),
        (("init", "--nonsense"), EXIT_USAGE, "--nonsense"),
        (("link",), 0, "self-hosted"),
        (("link", "nonsense"), EXIT_USAGE, "nonsense"),
        (("statsu",), EXIT_USAGE, "Did you mean 'status'"),
        (("migrate",), EXIT_FAILED, "direction"),
    ],
)
def test_words_and_options_find_their_command(
    line: tuple[str, ...], code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *line) == code
    captured = capsys.readouterr()
    assert says in captured.out + captured.err


@pytest.mark.requirement(194)
@pytest.mark.parametrize(
    ("line", "says"),
    [
        (("login",), "syncline login https://"),
        (("logout",), "syncline logout https://"),
        (("init", "cloud"), "syncline init"),
        (("link", "cloud", "--create", "--instance-id", "x"), "syncline link self-hosted"),
        (("deploy", "service-config"), "restart the service"),
        (("destroy", "--confirm=yes"), "syncline teardown"),
        (("stop", "--confirm=yes"), "SIGTERM"),
        (("plugins", "install", "x"), "built in"),
    ],
)
def test_what_only_a_cloud_has_is_explained(
    line: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *line) == EXIT_FAILED
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["syncline", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
