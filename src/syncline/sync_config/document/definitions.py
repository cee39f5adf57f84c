"""Reads `bucket_definitions:` (sync rules) and `event_definitions:` (sync config reference, 8 and 9)."""

from __future__ import annotations

from syncline.sync_config.document.model import DefinitionDocument, EventDocument
from syncline.sync_config.document.nodes import NodeReader
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.yaml_nodes import YamlMap, YamlNode, YamlScalar, YamlSequence

__all__ = ["read_definitions", "read_events"]

_DEFINITION_KEYS = ("priority", "accept_potentially_dangerous_queries", "parameters", "data")
_EVENT_KEYS = ("payloads",)


def read_definitions(root: YamlMap, nodes: NodeReader) -> tuple[DefinitionDocument, ...]:
    """All bucket definitions, in the order of the document."""
    block = nodes.map_at(root, "bucket_definitions")
    if block is None:
        return ()
    found = (_definition(name, key, node, nodes) for name, (key, node) in block.entries.items())
    return tuple(definition for definition in found if definition is not None)


def read_events(root: YamlMap, nodes: NodeReader) -> tuple[EventDocument, ...]:
    """All event definitions, in the order of the document."""
    block = nodes.map_at(root, "event_definitions")
    if block is None:
        return ()
    found = (_event(name, node, nodes) for name, (_, node) in block.entries.items())
    return tuple(event for event in found if event is not None)


def _definition(name: str, key: YamlScalar, node: YamlNode, nodes: NodeReader) -> DefinitionDocument | None:
    what = f'the bucket definition "{name}"'
    if not isinstance(node, YamlMap):
        message = f"{what.capitalize()} must be a map"
        nodes.problems.fatal(ProblemKind.EXPECTED_MAP, message, node.span, hint="Write data: under it.")
        return None
    nodes.refuse_unknown(node, _DEFINITION_KEYS, what)
    return DefinitionDocument(
        name,
        key.span,
        _parameters(node, nodes),
        _required_queries(node, "data", what, nodes),
        priority=nodes.priority(node),
        accept_dangerous=nodes.boolean(node, "accept_potentially_dangerous_queries", default=False),
    )


def _parameters(node: YamlMap, nodes: NodeReader) -> tuple[QueryText, ...]:
    if "parameters" not in node.entries:
        return ()
    value = node.entries["parameters"][1]
    return nodes.queries(value, "parameters") if isinstance(value, YamlSequence) else nodes.query(value)


def _event(name: str, node: YamlNode, nodes: NodeReader) -> EventDocument | None:
    what = f'the event definition "{name}"'
    if not isinstance(node, YamlMap):
        nodes.problems.fatal(ProblemKind.EXPECTED_MAP, f"{what.capitalize()} must be a map", node.span)
        return None
    nodes.refuse_unknown(node, _EVENT_KEYS, what)
    return EventDocument(name, _required_queries(node, "payloads", what, nodes))


def _required_queries(node: YamlMap, key: str, what: str, nodes: NodeReader) -> tuple[QueryText, ...]:
    if key not in node.entries:
        hint = f"Write {key}: and under it a list of queries."
        nodes.problems.fatal(ProblemKind.MISSING_KEY, f'The key "{key}" is missing in {what}', node.span, hint=hint)
        return ()
    return nodes.queries(node.entries[key][1], key)
