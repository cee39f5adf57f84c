"""Commands for the refused writes that a backend keeps, through its routes: policies and hooks are in the app's own process.

What needs neither can be asked of its database too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote, urlencode

import typer

from syncline.cli.exit_codes import EXIT_USAGE, CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.option_groups import spread_options
from syncline.cli.output import OUTPUT, YES, Output, as_json, confirmed, write_result

if TYPE_CHECKING:
    from syncline.cli.backend_client import BackendClient
    from syncline.cli.database_letters import DatabaseLetters

__all__ = ["dead_letters_discard", "dead_letters_list", "dead_letters_retry", "dead_letters_show"]

DATABASE: str | None = typer.Option(
    None, "--database", help="Ask the backend's Postgres itself, postgresql://…, for all users; no token is needed."
)
LETTER_ID: str = typer.Argument(help="Of the letter, as `dead-letters list` shows it.")
PATH = "/api/dead-letters"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BackendOptions:
    """Which backend, and who asks."""

    backend_url: str = typer.Option(
        "http://127.0.0.1:8000", "--backend-url", envvar="SYNCLINE_BACKEND_URL", help="Address of the app's backend."
    )
    token: str = typer.Option(
        "",
        "--token",
        envvar="SYNCLINE_BACKEND_TOKEN",
        show_envvar=True,
        show_default=False,
        help="A token of a user of the backend.",
    )

    def client(self) -> BackendClient:
        """Asks the backend. Raises CommandFailed without a token."""
        from syncline.cli.backend_client import BackendClient

        if not self.token:
            raise CommandFailed("Say who asks: --token, or the variable SYNCLINE_BACKEND_TOKEN.", exit_code=EXIT_USAGE)
        return BackendClient(self.backend_url, self.token)


@spread_options
def dead_letters_list(
    everybody: bool = typer.Option(False, "--all", help="Of all users; the token must be an admin's."),
    user_id: str | None = typer.Option(None, "--user", help="Of this user; the token must be an admin's."),
    state: str | None = typer.Option("open", "--state", help="open, retried or discarded; empty for all."),
    code: str | None = typer.Option(None, "--code", help="Only with this error code."),
    limit: int = typer.Option(100, "--limit", min=1, help="So many at most."),
    *,
    backend: BackendOptions,
    database: str | None = DATABASE,
    output: Output = OUTPUT,
) -> None:
    """List refused writes, oldest first."""
    with failures_told():
        asked = {"all": "true" if everybody else "", "user_id": user_id, "state": state, "code": code}
        query = {name: value for name, value in asked.items() if value}
        if database:
            letters = _in_database(database, lambda found: found.list(query, limit))
        else:
            letters = list(_letters(backend.client(), query, limit))
        write_result(letters, output, lambda: _list_text(letters))


@spread_options
def dead_letters_show(
    letter_id: str = LETTER_ID,
    *,
    backend: BackendOptions,
    database: str | None = DATABASE,
    output: Output = OUTPUT,
) -> None:
    """Show a refused write whole, with its values."""
    with failures_told():
        if database:
            letter = _in_database(database, lambda found: found.show(letter_id))
        else:
            letter = backend.client().call("GET", _path(letter_id), None)
        write_result(letter, output, lambda: as_json(letter))


@spread_options
def dead_letters_retry(letter_id: str = LETTER_ID, *, backend: BackendOptions, output: Output = OUTPUT) -> None:
    """Apply a refused write again, as its user. Ends with 1 where it is refused again."""
    with failures_told():
        verdict = backend.client().call("POST", f"{_path(letter_id)}/retry", None)
        write_result(verdict, output, lambda: str(verdict["status"]))
        if verdict["status"] != "success":
            raise CommandFailed(str(verdict.get("message") or "It did not go through."))


@spread_options
def dead_letters_discard(
    letter_id: str = LETTER_ID,
    yes: bool = YES,
    *,
    backend: BackendOptions,
    database: str | None = DATABASE,
    output: Output = OUTPUT,
) -> None:
    """Give a refused write up."""
    with failures_told():
        confirmed("The write will not be applied any more. Go on?", yes=yes)
        if database:
            letter = _in_database(database, lambda found: found.discard(letter_id))
        else:
            letter = backend.client().call("POST", f"{_path(letter_id)}/discard", None)
        write_result(letter, output, lambda: f"{letter['id']} is {letter['state']}")


def _in_database(uri: str, ask: Callable[[DatabaseLetters], T]) -> T:
    with extra_needed("backend", "service"):
        from syncline.cli.database_letters import DatabaseLetters

        return ask(DatabaseLetters(uri))


def _path(letter_id: str) -> str:
    return f"{PATH}/{quote(letter_id, safe='')}"


def _letters(client: BackendClient, query: dict[str, str], limit: int) -> Iterator[dict[str, Any]]:
    """Letters of as many pages as it takes."""
    after = ""
    left = limit
    while left > 0:
        page: Any = client.call("GET", f"{PATH}?{urlencode(query | ({'after': after} if after else {}))}", None)
        letters = cast("list[dict[str, Any]]", page["letters"])
        yield from letters[:left]
        left -= len(letters)
        after = page["next"]
        if not letters:
            return


def _list_text(letters: list[dict[str, Any]]) -> str:
    """One line for each letter, without values of rows."""
    lines = [
        "\t".join(
            (
                str(letter["id"]),
                str(letter["created_at"]),
                str(letter["user_id"]),
                str(letter["state"]),
                str(letter["code"]),
                ",".join(sorted({entry["table"] for entry in letter["transaction"]["crud"]})),
                str(letter["message"]),
            )
        )
        for letter in letters
    ]
    return "\n".join(lines) if lines else "No dead letters."
