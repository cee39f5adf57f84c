"""The YAML document of a sync config: its keys, their types, and the places of everything (sync config reference, section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from syncline.sync_config.query_text import QueryText
from syncline.sync_config.source_text import ProblemList, Span
from syncline.sync_config.yaml_nodes import YamlMap, YamlNode, YamlScalar, YamlSequence, read_yaml

__all__ = ["ConfigDocument", "QueryText", "StreamDocument", "parse_document"]

LOWEST_PRIORITY = 3

_ROOT_KEYS = ("config", "streams", "bucket_definitions", "with", "event_definitions")
_STREAM_KEYS = ("query", "queries", "auto_subscribe", "priority", "with", "accept_potentially_dangerous_queries")
_FLAGS = {  # option -> the only value that is supported so far (None: both)
    "timestamps_iso8601": True,
    "versioned_bucket_ids": None,
    "fixed_json_extract": True,
    "custom_postgres_types": True,
    "unstable_sqlite_expression_engine": False,
}
_CONFIG_KEYS = ("edition", *_FLAGS, "timestamp_max_precision", "storage_version")
_PRECISIONS = ("seconds", "milliseconds", "microseconds", "nanoseconds")


@dataclass(frozen=True, slots=True)
class StreamDocument:
    """A stream as it is written."""

    name: str
    name_span: Span
    queries: tuple[QueryText, ...]
    auto_subscribe: bool = False
    priority: int = LOWEST_PRIORITY
    accept_dangerous: bool = False
    ctes: Mapping[str, QueryText] = field(default_factory=dict[str, QueryText])


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """What could be read of the document."""

    streams: tuple[StreamDocument, ...]
    ctes: Mapping[str, QueryText]


def parse_document(text: str, problems: ProblemList) -> ConfigDocument:
    """Read and check the document. Everything wrong is added to `problems`; what is right is returned."""
    nothing = ConfigDocument((), {})
    root = read_yaml(text, problems)
    if root is None:
        return nothing
    if not isinstance(root, YamlMap):
        problems.fatal("A sync config must be a map", root.span, hint="Begin with config: and streams:.")
        return nothing
    return _DocumentReader(text, problems).read(root)


class _DocumentReader:
    def __init__(self, text: str, problems: ProblemList) -> None:
        self._text = text
        self._problems = problems

    def read(self, root: YamlMap) -> ConfigDocument:
        self._refuse_unknown(root, _ROOT_KEYS, "the sync config")
        edition = self._config(root)
        self._check_edition(root, edition)
        if "event_definitions" in root.entries:
            self._problems.fatal("event_definitions is not supported yet", root.entries["event_definitions"][0].span)
        streams: list[StreamDocument] = []
        block = self._map_at(root, "streams")
        for name, (key, node) in (block.entries if block is not None else {}).items():
            stream = self._stream(name, key, node)
            if stream is not None:
                streams.append(stream)
        return ConfigDocument(tuple(streams), self._ctes(root))

    # config

    def _config(self, root: YamlMap) -> int:
        config = self._map_at(root, "config")
        if config is None:
            return 1
        self._refuse_unknown(config, _CONFIG_KEYS, "config")
        for option, supported in _FLAGS.items():
            value = self._boolean(config, option, default=None)
            if value is not None and supported is not None and value is not supported:
                span = config.entries[option][1].span
                self._problems.fatal(f"{option}: {str(value).lower()} is not supported yet", span)
        self._precision(config)
        self._storage_version(config)
        return self._integer(config, "edition", low=0, high=3, default=1)

    def _precision(self, config: YamlMap) -> None:
        if "timestamp_max_precision" not in config.entries:
            return
        node = config.entries["timestamp_max_precision"][1]
        value = node.value if isinstance(node, YamlScalar) else None
        if value not in _PRECISIONS:
            hint = f"One of {', '.join(_PRECISIONS)}."
            self._problems.fatal("timestamp_max_precision has an unknown value", node.span, hint=hint)
        elif value in ("seconds", "milliseconds"):
            self._problems.fatal(f"timestamp_max_precision: {value} is not supported yet", node.span)

    def _storage_version(self, config: YamlMap) -> None:
        if self._integer(config, "storage_version", low=2, high=3, default=2) == 3:
            span = config.entries["storage_version"][1].span
            self._problems.warn("storage_version is unstable and has no meaning here", span)

    def _check_edition(self, root: YamlMap, edition: int) -> None:
        legacy, streams = root.entries.get("bucket_definitions"), root.entries.get("streams")
        if legacy is not None:
            message = (
                "bucket_definitions cannot be used with edition 3"
                if edition == 3
                else "bucket_definitions (sync rules) are not supported yet"
            )
            self._problems.fatal(message, legacy[0].span, hint="Write streams, with config: {edition: 3}.")
        elif streams is None:
            hint = "Write streams:, and under it one entry for each stream."
            self._problems.fatal('The key "streams" is missing', root.span, hint=hint)
        if edition != 3 and streams is not None:
            self._problems.fatal(
                "streams need config.edition 3", streams[0].span, hint="Write at the top:\nconfig:\n  edition: 3"
            )
        if edition != 3 and "with" in root.entries:
            self._problems.fatal("with needs config.edition 3", root.entries["with"][0].span)

    # streams

    def _stream(self, name: str, key: YamlScalar, node: YamlNode) -> StreamDocument | None:
        if not isinstance(node, YamlMap):
            self._problems.fatal(f'The stream "{name}" must be a map', node.span, hint="Write query: under it.")
            return None
        self._refuse_unknown(node, _STREAM_KEYS, f'the stream "{name}"')
        return StreamDocument(
            name,
            key.span,
            self._queries(name, key, node),
            auto_subscribe=bool(self._boolean(node, "auto_subscribe", default=False)),
            priority=self._integer(node, "priority", low=0, high=3, default=LOWEST_PRIORITY),
            accept_dangerous=bool(self._boolean(node, "accept_potentially_dangerous_queries", default=False)),
            ctes=self._ctes(node),
        )

    def _queries(self, name: str, key: YamlScalar, node: YamlMap) -> tuple[QueryText, ...]:
        single, several = node.entries.get("query"), node.entries.get("queries")
        if single is not None and several is not None:
            self._problems.fatal(
                f'The stream "{name}" has both query and queries', several[0].span, hint="Keep one of them."
            )
            return ()
        if single is not None:
            return self._query(single[1])
        if several is None:
            self._problems.fatal(
                f'The stream "{name}" has neither query nor queries', key.span, hint="Write query: SELECT …."
            )
            return ()
        if not isinstance(several[1], YamlSequence):
            self._problems.fatal("queries must be a list", several[1].span)
            return ()
        return tuple(query for item in several[1].items for query in self._query(item))

    def _query(self, node: YamlNode) -> tuple[QueryText, ...]:
        if isinstance(node, YamlScalar) and isinstance(node.value, str):
            return (QueryText.of(node, self._text),)
        self._problems.fatal("A query must be a text", node.span, hint="Write SELECT … FROM ….")
        return ()

    def _ctes(self, node: YamlMap) -> dict[str, QueryText]:
        block = self._map_at(node, "with")
        if block is None:
            return {}
        return {name: query for name, (_, entry) in block.entries.items() for query in self._query(entry)}

    # values

    def _refuse_unknown(self, node: YamlMap, known: tuple[str, ...], where: str) -> None:
        for name, (key, _) in node.entries.items():
            if name not in known:
                hint = f"Known keys: {', '.join(known)}."
                self._problems.fatal(f'There is no key "{name}" in {where}', key.span, hint=hint)

    def _map_at(self, node: YamlMap, key: str) -> YamlMap | None:
        if key not in node.entries:
            return None
        value = node.entries[key][1]
        if isinstance(value, YamlMap):
            return value
        self._problems.fatal(f"{key} must be a map", value.span)
        return None

    def _boolean(self, node: YamlMap, key: str, *, default: bool | None) -> bool | None:
        if key not in node.entries:
            return default
        value = node.entries[key][1]
        if isinstance(value, YamlScalar) and isinstance(value.value, bool):
            return value.value
        self._problems.fatal(f"{key} must be true or false", value.span)
        return default

    def _integer(self, node: YamlMap, key: str, *, low: int, high: int, default: int) -> int:
        if key not in node.entries:
            return default
        value = node.entries[key][1]
        number = value.value if isinstance(value, YamlScalar) else None
        if isinstance(number, float) and number.is_integer():
            number = int(number)
        if isinstance(number, int) and not isinstance(number, bool) and low <= number <= high:
            return number
        self._problems.fatal(f"{key} must be a whole number from {low} to {high}", value.span)
        return default
