"""`syncline login URL` and `logout URL`: keep a token for a service's admin API on this machine."""

from __future__ import annotations

import os
import sys

import typer

from syncline.cli.exit_codes import EXIT_FAILED, CommandFailed, failures_told
from syncline.cli.output import is_terminal, say
from syncline.cli.project import TOKEN_VARIABLE, AdminAddress

__all__ = ["login", "logout"]

_NO_CLOUD = (
    "There is no cloud to log in to: Syncline runs on your own servers.\n"
    "To keep the admin token of one of them:  syncline login https://sync.example.com"
)


def login(
    url: str | None = typer.Argument(None, help="Address of the service."),
    check: bool = typer.Option(True, "--check/--no-check", help="Ask the service whether it takes the token."),
) -> None:
    """Keep the token for a service's admin API in a file that only you can read.

    The token is asked for; without a terminal it is the variable PS_ADMIN_TOKEN, or the first line of standard input.
    """
    from syncline.cli.admin_client import AdminClient
    from syncline.cli.logins import store_token

    if url is None:
        say(_NO_CLOUD)
        raise typer.Exit(EXIT_FAILED)
    with failures_told():
        if not url.startswith(("http://", "https://")):
            raise CommandFailed(f"{url!r} is no address of a service.", hint="Write http://… or https://…")
        token = os.environ.get(TOKEN_VARIABLE) or _asked()
        if not token:
            raise CommandFailed("No token was given.")
        if check:
            AdminClient(AdminAddress(url.rstrip("/"), token, "the command line", "the command line")).diagnostics()
        path = store_token(url, token, os.environ)
        typer.echo(f"Logged in to {url}. The token is in {path}.")


def logout(url: str | None = typer.Argument(None, help="Address of the service.")) -> None:
    """Forget the token for a service's admin API."""
    from syncline.cli.logins import forget_token

    if url is None:
        say(_NO_CLOUD.replace("login", "logout").replace("log in", "log out of").replace("keep", "forget"))
        raise typer.Exit(EXIT_FAILED)
    with failures_told():
        if not forget_token(url, os.environ):
            raise CommandFailed(f"There is no token for {url}.")
        typer.echo(f"Logged out of {url}.")


def _asked() -> str:
    if is_terminal():
        return str(typer.prompt("Admin token", hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()
