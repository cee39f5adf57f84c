"""Commands that are imported when they are called: the help of a group names them from a table and loads none of them.

Each command is one `Command` in the table of `syncline.cli.main`: its words, the function behind it, and one line of help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from syncline.cli.exit_codes import EXIT_USAGE

__all__ = ["Command", "CommandTable", "group_class"]

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
_ANYTHING = {"allow_extra_args": True, "ignore_unknown_options": True}


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `words` are what is typed behind `syncline`; `target` is "module:function"; `help` one line for lists.

    A command whose words begin those of others is what these words do alone: `migrate` beside `migrate sync-rules`.
    """

    words: str
    target: str
    help: str
    usage_code: int = EXIT_USAGE  # how a wrong command line ends
    hidden: bool = False  # answers, and is in no list
    takes_anything: bool = False  # whatever options and words follow

    def load(self, subcommands: Sequence[str] = ()) -> Any:
        """The command, with its module imported. `subcommands` are named below its help."""
        module, _, function = self.target.partition(":")
        settings: dict[str, Any] = {**HELP_NAMES, **(_ANYTHING if self.takes_anything else {})}
        single = typer.Typer(rich_markup_mode=None, context_settings=settings, add_completion=False)
        also = ", ".join(f"{self.words} {name}" for name in subcommands)
        single.command(self.words.split()[-1], epilog=f"See also: {also}" if also else None)(
            getattr(import_module(module), function)
        )
        return get_command(single)


class CommandTable:
    """All commands, and the lines of help of the groups that they form."""

    def __init__(self, commands: Sequence[Command], groups: dict[str, str]) -> None:
        self._commands = {command.words: command for command in commands}
        self._groups = groups
        assert len(self._commands) == len(commands), "two commands have the same words"

    def names(self, group: str, *, hidden: bool = False) -> list[str]:
        """What may follow the words of a group ("" is the root), in the order of the table."""
        begin = f"{group} " if group else ""
        found = [
            words.removeprefix(begin).split()[0]
            for words, command in self._commands.items()
            if words.startswith(begin) and (hidden or not command.hidden)
        ]
        return list(dict.fromkeys(found))

    def command(self, words: str) -> Command | None:
        """The command with exactly these words."""
        return self._commands.get(words)

    def help_line(self, words: str) -> str:
        """The line for a list."""
        command = self._commands.get(words)
        return self._groups.get(words) or (command.help if command else "")

    def of_line(self, arguments: Sequence[str]) -> Command | None:
        """The command that a command line means: the longest that begins it."""
        for length in range(len(arguments), 0, -1):
            found = self._commands.get(" ".join(arguments[:length]))
            if found:
                return found
        return None


def group_class(table: CommandTable, words: str = "") -> type[TyperGroup]:
    """The class of the group with these words ("" is the root), for `typer.Typer(cls=…)`."""

    class LazyGroup(TyperGroup):
        """A group that knows the names of its commands and nothing else of them."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            # Only their names are read, for "Did you mean …?".
            self.commands = cast("dict[str, Any]", dict.fromkeys(table.names(words)))

        def get_help_option(self, ctx: Any) -> Any:
            """The library reads a missing value of `--help` with another one that takes longer to import than all else here."""
            option = super().get_help_option(ctx)
            if option is not None:
                option.default = False
            return option

        def list_commands(self, ctx: Any) -> list[str]:
            return table.names(words)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            path = f"{words} {cmd_name}".strip()
            if table.names(path, hidden=True):
                return _group(table, path)
            command = table.command(path)
            return command.load() if command else None

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            path = f"{words} {args[0]}".strip()
            alone, below = table.command(path), table.names(path, hidden=True)
            if alone and below and (len(args) == 1 or args[1] not in below):
                return args[0], alone.load(table.names(path)), args[1:]
            return super().resolve_command(ctx, args)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(name, table.help_line(f"{words} {name}".strip())) for name in table.names(words)])

    return LazyGroup


def _group(table: CommandTable, words: str) -> Any:
    """A group below the root."""
    group = typer.Typer(
        cls=group_class(table, words),
        rich_markup_mode=None,
        context_settings=HELP_NAMES,
        invoke_without_command=True,
        add_completion=False,
        name=words.split()[-1],
    )

    def callback(context: typer.Context) -> None:
        """Without a command there is help, and that is no mistake."""
        if context.invoked_subcommand is None:
            typer.echo(context.get_help())

    group.callback(help=table.help_line(words))(callback)
    return get_command(group)
