"""`syncline explain` and `syncline who`: why a row is on a device, or not. The source is read; nothing is changed anywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from syncline.cli.exit_codes import CommandFailed
from syncline.cli.explaining.options import CLAIM, ConnectionOptions, SourceOptions, SubscriptionOptions
from syncline.cli.live.connecting import subscriptions_of
from syncline.cli.option_groups import spread_options
from syncline.cli.output import OUTPUT, Output, say, write_result
from syncline.cli.project import admin_address
from syncline.cli.tables_text import counted
from syncline.protocol.requests import StreamsRequest

if TYPE_CHECKING:
    from syncline.cli.explaining.source_view import SourceView
    from syncline.sync_config.explain import ConnectionExplanation, Explained, RowExplanation, VisibilityExplanation
    from syncline.sync_config.plan import ConnectionData

__all__ = ["explain_row", "explain_stream", "explain_user", "who"]

USERS_MAX = 200  # connected users that `who` looks at; each is explained whole
TABLE: str = typer.Argument(help="Table of the source: lists, or app.lists.")
ROW_ID: str = typer.Argument(help="The row: its id, or else its key.")
COLUMN: str = typer.Option("", "--column", help="Look the row up by this column.")
USER: str = typer.Option(..., "--user", help="The user: sub of the token.")


@spread_options
def explain_row(
    table: str = TABLE,
    row_id: str = ROW_ID,
    user: str | None = typer.Option(None, "--user", help="Does this user see it, and through what?"),
    column: str = COLUMN,
    *,
    connecting: ConnectionOptions,
    subscribing: SubscriptionOptions,
    place: SourceOptions,
    output: Output = OUTPUT,
) -> None:
    """Tell in which buckets a row stands and why, and with --user whether the user sees it; if not, what is in the way."""
    with place.opened() as view:
        row = view.row(table, row_id, column)
        parts: dict[str, Explained] = {"row": row}
        if user is not None:
            known = view.user(connecting.connection(user), subscribing.request())
            parts = {"visibility": _visibility(row, known), "row": row}
        value = {name: _value(part) for name, part in parts.items()}
        write_result(value, output, lambda: "\n".join(str(part) for part in parts.values()))


@spread_options
def explain_user(
    user: str = typer.Argument(help="The user: sub of the token."),
    *,
    connecting: ConnectionOptions,
    subscribing: SubscriptionOptions,
    place: SourceOptions,
    output: Output = OUTPUT,
) -> None:
    """Tell which buckets a user has, through which streams, parameters and lookups."""
    with place.opened() as view:
        found = view.user(connecting.connection(user), subscribing.request())
        write_result(_value(found), output, lambda: str(found))


@spread_options
def explain_stream(
    name: str = typer.Argument(help='The stream: todos, or todos={"parameter": value}.'),
    user: str = USER,
    *,
    connecting: ConnectionOptions,
    place: SourceOptions,
    output: Output = OUTPUT,
) -> None:
    """Tell what one stream gives to a user. A stream that is not there by default is subscribed to."""
    with place.opened() as view:
        subscription = subscriptions_of([name])[0]
        known = {stream.name: stream for stream in view.plan.streams}
        if subscription.stream not in known:
            raise CommandFailed(f"There is no stream {subscription.stream}.", hint=f"There are: {', '.join(known)}.")
        is_default = known[subscription.stream].auto_subscribe and subscription.parameters is None
        request = StreamsRequest(include_defaults=is_default, subscriptions=[] if is_default else [subscription])
        found = view.user(connecting.connection(user), request)
        streams = [stream for stream in found.streams if stream.name == subscription.stream]
        value = [stream for stream in _value(found)["streams"] if stream["name"] == subscription.stream]
        lines = [f"User {user}: {counted(sum(stream.bucket_count for stream in streams), 'bucket')}"]
        write_result(
            value, output, lambda: "\n".join([*lines, *(line for stream in streams for line in stream.lines())])
        )


@spread_options
def who(
    table: str = TABLE,
    row_id: str = ROW_ID,
    user: list[str] = typer.Option(
        [], "--user", help="Ask about this user, not about those who are connected. Repeatable."
    ),
    column: str = COLUMN,
    claim: list[str] = CLAIM,
    *,
    place: SourceOptions,
    output: Output = OUTPUT,
) -> None:
    """Show in which buckets a row stands, and which users see it: those who are connected now, or those that are named.

    Of connected users only the id is known: claims that the config reads are given with --claim, for all of them.
    """
    with place.opened() as view:
        row = view.row(table, row_id, column)
        asked = user or _connected_users(place)
        if len(asked) > USERS_MAX:
            say(f"Warning: {len(asked)} users are connected; the first {USERS_MAX} are looked at.")
            asked = asked[:USERS_MAX]
        connecting = ConnectionOptions(claim, [])
        seeing = {name: list(_ways(view, row, connecting.connection(name))) for name in asked}
        value = {
            "row": f"{row.schema}.{row.table}/{row_id}",
            "buckets": list(row.buckets),
            "users": [{"user_id": name, "buckets": buckets} for name, buckets in seeing.items() if buckets],
            "users_without": [name for name, buckets in seeing.items() if not buckets],
        }
        write_result(value, output, lambda: _who_text(value))


def _visibility(row: RowExplanation, connection: ConnectionExplanation) -> VisibilityExplanation:
    from syncline.sync_config.explain import explain_visibility

    return explain_visibility(row, connection)


def _ways(view: SourceView, row: RowExplanation, user: ConnectionData) -> list[str]:
    """Buckets through which a user sees a row, with the streams that need no subscription."""
    return list(dict.fromkeys(way.bucket for way in _visibility(row, view.user(user, None)).ways))


def _connected_users(place: SourceOptions) -> list[str]:
    """Users with an open stream: those of the process that answers, and those that all processes have reported as connected."""
    from syncline.cli.admin_client import AdminClient

    found = AdminClient(admin_address(place.directory, place.api_url)).connections(None)
    here = [str(stream["user_id"]) for stream in found["open"]]
    reported = [str(day["user_id"]) for day in found["days"] if day.get("disconnected_at") is None]
    return sorted({*here, *reported})


def _value(explained: Explained) -> Any:
    return json.loads(explained.to_json())


def _who_text(value: dict[str, Any]) -> str:
    lines = [
        f"{value['row']}: in {counted(len(value['buckets']), 'bucket')}",
        *(f"  {name}" for name in value["buckets"]),
    ]
    lines.append(f"Seen by {counted(len(value['users']), 'user')}" + (":" if value["users"] else ""))
    lines += [f"  {user['user_id']}, through {', '.join(user['buckets'])}" for user in value["users"]]
    if value["users_without"]:
        lines.append(f"Not seen by: {', '.join(value['users_without'])}")
    return "\n".join(lines)
