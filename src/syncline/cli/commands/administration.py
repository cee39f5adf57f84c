"""Commands for what the admin API does beside sync configs: users' streams, copying again, and SQL on the source."""

from __future__ import annotations

from typing import Any, cast

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.output import OUTPUT, YES, Output, as_json, confirmed, write_result
from syncline.cli.project import API_URL, DIRECTORY, admin_address

__all__ = ["reprocess", "source_sql", "users_connections", "users_revoke"]


def users_revoke(
    user_id: str = typer.Argument(help="The user: `sub` of the token."),
    until: str | None = typer.Option(
        None, "--until", help="ISO time with its time zone; by default until all tokens of now have expired."
    ),
    yes: bool = YES,
    directory: str = DIRECTORY,
    api_url: str | None = API_URL,
    output: Output = OUTPUT,
) -> None:
    """End all streams of a user now, and refuse new ones until a time.

    A time in the past takes an earlier revocation back.
    """
    with failures_told():
        confirmed("This ends the user's streams. Go on?", yes=yes)
        done = _client(directory, api_url).revoke(user_id, until)
        write_result(done, output, lambda: f"Revoked until {done['until']}; {done['streams_ended']} streams ended.")


def users_connections(
    user_id: str | None = typer.Argument(None, help="Only of this user."),
    directory: str = DIRECTORY,
    api_url: str | None = API_URL,
    output: Output = OUTPUT,
) -> None:
    """Show open streams, and how many there were by day."""
    with failures_told():
        found = _client(directory, api_url).connections(user_id)
        write_result(found, output, lambda: _connections_text(found))


def reprocess(
    yes: bool = YES, directory: str = DIRECTORY, api_url: str | None = API_URL, output: Output = OUTPUT
) -> None:
    """Copy everything from the source again.

    What is there goes on serving until the new copy is whole; then every device downloads its rows again.
    """
    with failures_told():
        confirmed("This copies all tables again, and devices download everything anew. Go on?", yes=yes)
        done = _client(directory, api_url).reprocess()
        write_result(done, output, lambda: f"Everything is copied again, as {done.get('slot_name')}: syncline status")


def source_sql(
    query: str = typer.Argument(help="One statement."),
    directory: str = DIRECTORY,
    api_url: str | None = API_URL,
    output: Output = OUTPUT,
) -> None:
    """Run SQL on the source, through the service.

    Only where the service's configuration has debug_api: true on the connection.
    """
    with failures_told():
        answer = _client(directory, api_url).execute_sql(query)
        if not answer.get("success"):
            raise CommandFailed(str(answer.get("error", "The service did not run it.")))
        results = cast("dict[str, Any]", answer["results"])
        write_result(results, output, lambda: _rows_text(results))


def _client(directory: str, api_url: str | None) -> Any:
    from syncline.cli.admin_client import AdminClient

    return AdminClient(admin_address(directory, api_url))


def _connections_text(found: dict[str, Any]) -> str:
    lines = [f"Open streams: {len(found['open'])}"]
    lines += [f"  • {_pairs(stream)}" for stream in found["open"]]
    lines += ["By day:" if found["days"] else "By day: none", *(f"  • {_pairs(day)}" for day in found["days"])]
    return "\n".join(lines)


def _pairs(value: dict[str, Any]) -> str:
    return ", ".join(f"{key} {item}" for key, item in value.items() if item not in (None, "", [], {}))


def _rows_text(results: dict[str, Any]) -> str:
    rows = [results["columns"], *results["rows"]]
    return "\n".join("\t".join(item if isinstance(item, str) else as_json(item) for item in row) for row in rows)
