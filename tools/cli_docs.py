"""docs/reference/cli.md from the table of commands: what each is for, its words and its options."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from typing import Any

from syncline.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_UNREACHABLE, EXIT_USAGE
from syncline.cli.lazy_groups import Command
from syncline.cli.main import COMMANDS

__all__ = ["cli_page"]

_HEAD = f"""\
# The command line

`pip install syncline` brings the command; what a command needs beyond that it names with the line that installs it. `syncline COMMAND
--help` tells the same as this page.

A project is a folder, `powersync` unless `--directory` names another, with `service.yaml`, `sync-config.yaml` and `cli.yaml`. Commands
that ask a running service find its address in `--api-url`, else in `api_url` of `cli.yaml`, else in the variable `API_URL`; and the token
for its admin API in the variable `PS_ADMIN_TOKEN`, else in `api_key` of `cli.yaml`, else in what `syncline login` has stored.

Editors check the files with JSON Schemas, [service.yaml](service-config.schema.json) and [sync-config.yaml](sync-config.schema.json):
`syncline configure ide` writes them into the project.

Results go to standard output, for people or with `--output json` or `--output yaml` (also `--format`); progress and errors go to standard
error. Nobody is asked anything where there is no terminal; what destroys something wants `--yes` then.

| Exit code | |
|---|---|
| {EXIT_OK} | done; warnings do not count |
| {EXIT_FAILED} | a check has failed, or something went wrong |
| {EXIT_USAGE} | a wrong command line; {EXIT_FAILED} for the commands of the service's process |
| {EXIT_UNREACHABLE} | the service does not answer; {EXIT_FAILED} for `status` and `validate`, as in the official command line |
| 150 | `start` and the commands beside it: the configuration, storage or port cannot be used |
"""


def cli_page() -> str:
    """The page: all commands in the order of the table, then those that only say what to do instead."""
    lines = [_HEAD]
    shown = [command for command in COMMANDS if not command.hidden]
    for command in shown:
        lines += _section(command, [other for other in shown if other is not command])
    lines += [
        "## Of the official command line's cloud\n",
        "These say what to do here instead, and end with 1: "
        + ", ".join(f"`syncline {command.words}`" for command in COMMANDS if command.hidden)
        + ".\n",
    ]
    return "\n".join(lines)


def _section(command: Command, others: list[Command]) -> list[str]:
    same = [other.words for other in others if other.target == command.target]
    if same and COMMANDS.index(command) > min(n for n, other in enumerate(COMMANDS) if other.words in same):
        return []  # told where it stands first
    click_command = command.load()
    arguments = [parameter for parameter in click_command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in click_command.params if parameter.param_type_name == "option"]
    words = " ".join(["syncline", command.words, *(_metavar(argument) for argument in arguments)])
    lines = [f"## {words}\n", inspect.cleandoc(click_command.help or "") + "\n"]
    if same:
        lines.append(f"Also: {', '.join(f'`syncline {name}`' for name in same)}.\n")
    rows = [*(_row(_metavar(argument), argument) for argument in arguments), *_option_rows(options)]
    return [*lines, "| | | Default |", "|---|---|---|", *rows, ""] if rows else lines


def _option_rows(options: list[Any]) -> Iterator[str]:
    for option in options:
        names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
        kind = option.type_descriptor.annotation
        choices = [choice.value for choice in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []
        yield _row(" ".join([names, ", ".join(map(str, choices))]).strip(), option)


def _row(name: str, parameter: Any) -> str:
    default = parameter.default
    shown = (
        ""
        if default in (None, "", False) or callable(default) or default is ...
        else str(getattr(default, "value", default))
    )
    if default is True:
        shown = "yes"
    if parameter.required:
        shown = "required"
    text = (getattr(parameter, "help", None) or "").replace("|", "\\|")
    if getattr(parameter, "envvar", None):
        text += f" Also in the variable `{parameter.envvar}`."
    return f"| {name} | {text} | {shown} |"


def _metavar(argument: Any) -> str:
    name = argument.metavar or argument.name.upper()
    return name if argument.required else f"[{name}]"
