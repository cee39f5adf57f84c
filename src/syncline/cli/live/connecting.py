"""Whose stream to open, and where: the options that commands share, and the stream itself through the client's own transport."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import typer

from syncline.cli.exit_codes import EXIT_USAGE, CommandFailed, ServiceUnreachable
from syncline.cli.project import DIRECTORY, admin_address
from syncline.protocol.requests import StreamRequest, StreamsRequest, StreamSubscription

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from syncline.protocol.lines import Line

__all__ = [
    "NO_DEFAULTS",
    "PARAM",
    "STREAM",
    "Viewer",
    "ViewerOptions",
    "named_values",
    "subscriptions_of",
]

BEARER_FROM = "SYNCLINE_TOKEN"
LIFETIME_S = 3600  # seconds that a token of `--user` is good for
CLAIM: list[str] = typer.Option(
    [], "--claim", help="name=value, for the token of --user. Value is JSON, or else a text."
)
PARAM: list[str] = typer.Option(
    [], "--param", help="name=value: a client parameter (connection.parameter). Repeatable."
)
STREAM: list[str] = typer.Option(
    [], "--stream", help='Subscribe to this stream too: name, or name={"parameter": value}. Repeatable.'
)
NO_DEFAULTS: bool = typer.Option(False, "--no-defaults", help="Without the streams that need no subscription.")


@dataclass(frozen=True, slots=True)
class Viewer:
    """A device that downloads and keeps nothing."""

    endpoint: str
    token: str
    parameters: dict[str, Any]
    streams: StreamsRequest

    def request(self, **fields: Any) -> StreamRequest:
        """The request of a stream; `fields` are further ones of it."""
        return StreamRequest(raw_data=True, parameters=self.parameters or None, streams=self.streams, **fields)

    @asynccontextmanager
    async def stream(self, request: StreamRequest) -> AsyncGenerator[AsyncIterator[tuple[Line, int]]]:
        """Open a stream; inside, iterate over its lines, each with its bytes.

        Raises ServiceUnreachable; SynclineError where the service refuses, or what comes makes no sense.
        """
        from syncline.client.connector import Credentials
        from syncline.client.errors import ConnectionFailed
        from syncline.client.transport.http import HttpTransport

        transport = HttpTransport()
        try:
            async with transport.stream(request, Credentials(self.endpoint, self.token)) as portions:
                yield _lines(portions)
        except ConnectionFailed as exc:
            raise ServiceUnreachable(f"The service at {self.endpoint} cannot be reached: {exc}") from exc
        finally:
            await transport.close()


async def _lines(portions: AsyncIterator[list[bytes]]) -> AsyncGenerator[tuple[Line, int]]:
    from syncline.protocol.lines import decode_line

    async for portion in portions:
        for text in portion:
            line = decode_line(text)
            if line is not None:
                yield line, len(text)


@dataclass(frozen=True, slots=True)
class ViewerOptions:
    """Whose stream, of which service."""

    endpoint: str | None = typer.Option(
        None,
        "--endpoint",
        "--api-url",
        help="Address of the service. Else api_url of cli.yaml, else the variable API_URL.",
    )
    token: str = typer.Option(
        "", "--token", envvar=BEARER_FROM, show_default=False, show_envvar=True, help="A user's token."
    )
    user: str | None = typer.Option(
        None, "--user", help="Instead of --token: a token for this user, signed as `generate token` does."
    )
    claim: list[str] = CLAIM
    param: list[str] = PARAM
    stream: list[str] = STREAM
    no_defaults: bool = NO_DEFAULTS
    directory: str = DIRECTORY

    def viewer(self) -> Viewer:
        """What the options say. Raises CommandFailed where they do not say whose stream, or where it is."""
        token, user = self.token, self.user
        if user is not None and token == os.environ.get(BEARER_FROM, ""):
            token = ""  # nobody typed it: what was typed counts
        if user is not None and token:
            raise CommandFailed("--user and --token exclude each other.", exit_code=EXIT_USAGE)
        if user is None and not token:
            raise CommandFailed("Say whose stream: --token TOKEN, or --user ID.", exit_code=EXIT_USAGE)
        # A token for the admin API is not needed here: with one, the address alone can be missing.
        url = admin_address(self.directory, self.endpoint, _environment()).url
        if user is not None:
            from syncline.cli.commands.generate_token import token_for

            token = token_for(user, self.claim, lifetime_s=LIFETIME_S, directory=self.directory, api_url=url)
        request = StreamsRequest(include_defaults=not self.no_defaults, subscriptions=subscriptions_of(self.stream))
        return Viewer(url, token.strip(), named_values(self.param, option="--param"), request)


def named_values(texts: list[str], *, option: str) -> dict[str, Any]:
    """name=value of a repeated option: a value is JSON, or else a text. Raises CommandFailed."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandFailed(f"{option} {text}: write name=value.", exit_code=EXIT_USAGE)
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def subscriptions_of(texts: list[str]) -> list[StreamSubscription]:
    """name, or name={"parameter": value}, of a repeated option. Raises CommandFailed."""
    return [_subscription(text) for text in texts]


def _subscription(text: str) -> StreamSubscription:
    name, _, value = text.partition("=")
    parameters: Any = None
    if value:
        try:
            parameters = json.loads(value)
        except ValueError:
            parameters = value
        if not isinstance(parameters, dict):
            raise CommandFailed(f'--stream {name}: write {name}={{"parameter": value}}.', exit_code=EXIT_USAGE)
    return StreamSubscription(name, cast("dict[str, Any] | None", parameters))


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PS_ADMIN_TOKEN": "-"}
