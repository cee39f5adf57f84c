"""Reads `streams:` and `with:` (sync config reference, 1.2)."""

from __future__ import annotations

from syncline.sync_config.document.model import LOWEST_PRIORITY, StreamDocument
from syncline.sync_config.document.nodes import NodeReader
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.yaml_nodes import YamlMap, YamlNode, YamlScalar

__all__ = ["read_ctes", "read_streams"]

_KEYS = ("query", "queries", "auto_subscribe", "priority", "with", "accept_potentially_dangerous_queries")


def read_streams(root: YamlMap, nodes: NodeReader) -> tuple[StreamDocument, ...]:
    """All streams, in the order of the document."""
    block = nodes.map_at(root, "streams")
    if block is None:
        return ()
    found = (_stream(name, key, node, nodes) for name, (key, node) in block.entries.items())
    return tuple(stream for stream in found if stream is not None)


def read_ctes(node: YamlMap, nodes: NodeReader) -> dict[str, QueryText]:
    """The named subqueries under `with`."""
    block = nodes.map_at(node, "with")
    if block is None:
        return {}
    return {name: query for name, (_, entry) in block.entries.items() for query in nodes.query(entry)}


def _stream(name: str, key: YamlScalar, node: YamlNode, nodes: NodeReader) -> StreamDocument | None:
    if not isinstance(node, YamlMap):
        message = f'The stream "{name}" must be a map'
        nodes.problems.fatal(ProblemKind.EXPECTED_MAP, message, node.span, hint="Write query: under it.")
        return None
    nodes.refuse_unknown(node, _KEYS, f'the stream "{name}"')
    priority = nodes.priority(node)
    return StreamDocument(
        name,
        key.span,
        _queries(name, node, nodes),
        auto_subscribe=nodes.boolean(node, "auto_subscribe", default=False),
        priority=LOWEST_PRIORITY if priority is None else priority,
        accept_dangerous=nodes.boolean(node, "accept_potentially_dangerous_queries", default=False),
        ctes=read_ctes(node, nodes),
    )


def _queries(name: str, node: YamlMap, nodes: NodeReader) -> tuple[QueryText, ...]:
    single, several = node.entries.get("query"), node.entries.get("queries")
    if single is not None and several is not None:
        message = f'The stream "{name}" has both query and queries'
        nodes.problems.fatal(ProblemKind.CONFLICTING_KEYS, message, single[0].span, hint="Keep one of them.")
        return ()
    if single is not None:
        return nodes.query(single[1])
    if several is None:
        message = f'The stream "{name}" has neither query nor queries'
        nodes.problems.fatal(ProblemKind.MISSING_KEY, message, node.span, hint="Write query: SELECT …")
        return ()
    return nodes.queries(several[1], "queries")
