"""The options of `explain` and `who`: what is known of a user's connection, and where the source and the sync config are."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from syncline.cli.exit_codes import failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.live.connecting import NO_DEFAULTS, PARAM, STREAM, named_values, subscriptions_of
from syncline.cli.options import SYNC_CONFIG
from syncline.cli.project import API_URL, DIRECTORY
from syncline.protocol.requests import StreamsRequest

if TYPE_CHECKING:
    from syncline.cli.explaining.source_view import SourceView
    from syncline.sync_config.plan import ConnectionData

__all__ = ["CLAIM", "ConnectionOptions", "SourceOptions", "SubscriptionOptions"]

CLAIM: list[str] = typer.Option(
    [], "--claim", help="name=value: a claim of the user's token. Value is JSON, or else a text."
)


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What a user's device connects with, besides the user's id."""

    claim: list[str] = CLAIM
    param: list[str] = PARAM

    def connection(self, user: str) -> ConnectionData:
        """The connection of this user. Raises CommandFailed for what is not name=value."""
        from syncline.sync_config.plan import ConnectionData

        claimed = named_values(self.claim, option="--claim")
        return ConnectionData({"sub": user, **claimed}, named_values(self.param, option="--param"))


@dataclass(frozen=True, slots=True)
class SubscriptionOptions:
    """Which streams a device asks for."""

    stream: list[str] = STREAM
    no_defaults: bool = NO_DEFAULTS

    def request(self) -> StreamsRequest:
        """As a device asks. Raises CommandFailed for parameters that are no JSON object."""
        return StreamsRequest(include_defaults=not self.no_defaults, subscriptions=subscriptions_of(self.stream))


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Where the source and the sync config are."""

    source: str | None = typer.Option(
        None, "--source", "--source-uri", help="The source, postgresql://…; else that of the project's service.yaml."
    )
    sync_config: Path | None = SYNC_CONFIG
    directory: str = DIRECTORY
    api_url: str | None = API_URL

    @contextmanager
    def opened(self) -> Generator[SourceView]:
        """The source and the sync config that are meant; around what a command does with them: failures are told."""
        with failures_told(), extra_needed("service"):
            from syncline.cli.explaining.source_view import source_view

            with source_view(self.source, self.sync_config, self.directory, self.api_url) as view:
                yield view
