"""What could be read of a sync config's document. Queries are still texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncline.sync_config.options import ConfigOptions
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.source_text import Span

__all__ = ["LOWEST_PRIORITY", "ConfigDocument", "DefinitionDocument", "EventDocument", "StreamDocument"]

LOWEST_PRIORITY = 3


@dataclass(frozen=True, slots=True)
class StreamDocument:
    """A sync stream as it is written."""

    name: str
    name_span: Span
    queries: tuple[QueryText, ...]
    auto_subscribe: bool = False
    priority: int = LOWEST_PRIORITY
    accept_dangerous: bool = False
    ctes: Mapping[str, QueryText] = field(default_factory=dict[str, QueryText])


@dataclass(frozen=True, slots=True)
class DefinitionDocument:
    """A bucket definition (sync rules) as it is written. `priority` None: not given; `parameters` empty: a global bucket."""

    name: str
    name_span: Span
    parameters: tuple[QueryText, ...]
    data: tuple[QueryText, ...]
    priority: int | None = None
    accept_dangerous: bool = False


@dataclass(frozen=True, slots=True)
class EventDocument:
    """An event definition: queries whose rows are reported to listeners when they change."""

    name: str
    payloads: tuple[QueryText, ...]


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """The whole document."""

    options: ConfigOptions = field(default_factory=ConfigOptions)
    streams: tuple[StreamDocument, ...] = ()
    ctes: Mapping[str, QueryText] = field(default_factory=dict[str, QueryText])
    definitions: tuple[DefinitionDocument, ...] = ()
    events: tuple[EventDocument, ...] = ()
