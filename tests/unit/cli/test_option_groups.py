from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import typer
from typer.testing import CliRunner

from syncline.cli.option_groups import spread_options

TAGS: list[str] = typer.Option([], "--tag")


@dataclass(frozen=True, slots=True)
class Place:
    """What commands share."""

    address: str = typer.Option("here", "--address", "--url", envvar="TEST_ADDRESS", help="Where to look.")
    tags: list[str] = TAGS


@spread_options
def look(name: str = typer.Argument(), *, place: Place, times: int = typer.Option(1, "--times", min=1)) -> None:
    """Look somewhere."""
    typer.echo(f"{name} {place.address} {place.tags} {times}")


def ran(command: Callable[..., None], *arguments: str, **environment: str) -> tuple[int, str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    done = CliRunner().invoke(app, arguments, env=environment)
    return done.exit_code, done.output


def test_the_fields_of_a_group_are_options_in_their_place() -> None:
    assert ran(look, "x") == (0, "x here [] 1\n")
    assert ran(look, "x", "--url", "there", "--tag", "a", "--tag", "b", "--times", "2") == (0, "x there ['a', 'b'] 2\n")
    assert ran(look, "x", TEST_ADDRESS="elsewhere") == (0, "x elsewhere [] 1\n")


def test_help_and_mistakes_are_those_of_the_command() -> None:
    code, text = ran(look, "--help")
    assert code == 0
    assert "Look somewhere." in text
    assert text.index("--address") < text.index("--tag") < text.index("--times")
    assert ran(look, "x", "--times", "0")[0] == 2
    assert ran(look, "x", "--place", "y")[0] == 2


def test_two_options_of_one_name_are_refused() -> None:
    def twice(address: str = typer.Option(""), *, place: Place) -> None:
        """Never called."""

    with pytest.raises(ValueError, match="address"):
        spread_options(twice)
