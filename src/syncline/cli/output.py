"""How commands speak: results on standard output, for people or as JSON or YAML; progress and errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import typer

from syncline.cli.exit_codes import CommandFailed

__all__ = ["OUTPUT", "YES", "Output", "as_json", "as_yaml", "confirmed", "is_terminal", "say", "write_result"]

YAML_COLUMNS = 80  # where long texts are folded


class Output(StrEnum):
    """The forms of a result."""

    HUMAN = "human"
    JSON = "json"
    YAML = "yaml"


OUTPUT: Output = typer.Option(Output.HUMAN, "--output", "--format", help="Form of the result.")
YES: bool = typer.Option(False, "--yes", "--confirm", help="Do not ask.")


def write_result(value: Any, output: Output, human: Callable[[], str]) -> None:
    """Write the result of a command: `value` as JSON or YAML, or what `human` makes for people."""
    if output is Output.JSON:
        typer.echo(as_json(value))
    elif output is Output.YAML:
        typer.echo(as_yaml(value))
    else:
        typer.echo(human())


def say(text: str) -> None:
    """Progress, and what a person should know, on standard error: the result stays clean."""
    typer.echo(text, err=True)


def as_json(value: Any) -> str:
    """Indented JSON; keys in the order in which they came."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def as_yaml(value: Any) -> str:
    """YAML with indented lists; keys in the order in which they came. Needs the module yaml."""
    from syncline.cli.extras import extra_needed

    with extra_needed("service"):
        import yaml  # here, for it is in the extras

    class Dumper(yaml.SafeDumper):
        """The library's own puts the dashes of a list below the first letter of its key."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=YAML_COLUMNS)


def is_terminal() -> bool:
    """Whether somebody is there to be asked."""
    return sys.stdin.isatty()


def confirmed(question: str, *, yes: bool) -> None:
    """Ask before something is destroyed. Raises CommandFailed where the answer is no, or nobody can be asked.

    `yes` is the command's option YES: nobody is asked then.
    """
    if yes:
        return
    if not is_terminal():
        raise CommandFailed(f"{question} Nobody can be asked here.", hint="Add --yes if it is meant.")
    if not typer.confirm(question, err=True):
        raise CommandFailed("Nothing was done.")
