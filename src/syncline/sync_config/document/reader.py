"""Reads a whole document, and checks which of its parts go together."""

from __future__ import annotations

from syncline.sync_config.document.definitions import read_definitions, read_events
from syncline.sync_config.document.model import ConfigDocument
from syncline.sync_config.document.nodes import NodeReader
from syncline.sync_config.document.options import LATEST_EDITION, read_options
from syncline.sync_config.document.streams import read_ctes, read_streams
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import ProblemList, Span
from syncline.sync_config.yaml_nodes import YamlMap, YamlNode, read_yaml

__all__ = ["parse_document"]

_ROOT_KEYS = ("config", "streams", "bucket_definitions", "with", "event_definitions")
_EDITION_HINT = f"Write at the top:\nconfig:\n  edition: {LATEST_EDITION}"


def parse_document(text: str, problems: ProblemList) -> ConfigDocument:
    """Read and check the document. Everything wrong is added to `problems`; what is right is returned."""
    root = read_yaml(text, problems)
    if root is None:
        return ConfigDocument()
    if not isinstance(root, YamlMap):
        hint = "Begin with config: and streams:."
        problems.fatal(ProblemKind.ROOT_NOT_MAP, "A sync config must be a map", root.span, hint=hint)
        return ConfigDocument()
    nodes = NodeReader(text, problems)
    nodes.refuse_unknown(root, _ROOT_KEYS, "the sync config")
    options = read_options(root, nodes)
    document = ConfigDocument(
        options,
        read_streams(root, nodes),
        read_ctes(root, nodes),
        read_definitions(root, nodes),
        read_events(root, nodes),
    )
    _check_edition(root, options.edition, problems)
    _check_names(root, problems)
    return document


def _check_edition(root: YamlMap, edition: int, problems: ProblemList) -> None:
    if edition == LATEST_EDITION:
        _check_latest_edition(root, problems)
        return
    streams = root.entries.get("streams")
    if streams is None and not isinstance(_value(root, "bucket_definitions"), YamlMap):
        problems.fatal(
            ProblemKind.NO_DEFINITIONS,
            "There are neither streams nor bucket_definitions",
            root.span,
            hint="Begin with:\nconfig:\n  edition: 3\nstreams:\n  …",
        )
    if streams is not None and isinstance(streams[1], YamlMap):
        hint = _EDITION_HINT if edition < 2 else _edition_two_hint()
        for name, (_, node) in streams[1].entries.items():
            message = f'The stream "{name}" needs edition {LATEST_EDITION}, and the config has edition {edition}'
            problems.fatal(ProblemKind.STREAMS_NEED_EDITION, message, _query_span(node), hint=hint)
    if "with" in root.entries:
        message = f"with needs edition {LATEST_EDITION}"
        problems.fatal(ProblemKind.NEEDS_EDITION3, message, root.entries["with"][1].span, hint=_EDITION_HINT)


def _check_latest_edition(root: YamlMap, problems: ProblemList) -> None:
    legacy = root.entries.get("bucket_definitions")
    if legacy is not None:
        hint = "Write streams in their place: `syncline migrate sync-rules` does it for you."
        message = f"bucket_definitions cannot be used with edition {LATEST_EDITION}"
        problems.fatal(ProblemKind.BUCKET_DEFINITIONS_IN_EDITION3, message, legacy[1].span, hint=hint)
    if not isinstance(_value(root, "streams"), YamlMap):
        hint = "Write streams:, and under it one entry for each stream."
        problems.fatal(ProblemKind.STREAMS_MISSING, 'The key "streams" is missing', root.span, hint=hint)


def _query_span(stream: YamlNode) -> Span:
    """Where the queries of a stream begin."""
    entries = stream.entries if isinstance(stream, YamlMap) else {}
    return next((entries[key][1].span for key in ("query", "queries") if key in entries), stream.span)


def _edition_two_hint() -> str:
    return (
        f"Write edition: {LATEST_EDITION}. What changes: != and NOT IN keep rows whose value is NULL, rows with a NULL key are in no"
        " bucket, and bucket_definitions in the same file must become streams."
    )


def _value(root: YamlMap, key: str) -> object:
    return root.entries[key][1] if key in root.entries else None


def _check_names(root: YamlMap, problems: ProblemList) -> None:
    """Streams and bucket definitions share one set of names."""
    streams, definitions = _value(root, "streams"), _value(root, "bucket_definitions")
    if isinstance(streams, YamlMap) and isinstance(definitions, YamlMap):
        for name, (key, _) in streams.entries.items():
            if name in definitions.entries:
                message = f'There is a bucket definition of the name "{name}" too'
                problems.fatal(ProblemKind.DUPLICATE_DEFINITION, message, key.span, hint="Rename one of them.")
