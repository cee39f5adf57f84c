"""Typed reading of YAML nodes: what has another type is a problem, and the default is used in its place."""

from __future__ import annotations

from difflib import get_close_matches

from syncline.sync_config.document.model import LOWEST_PRIORITY
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.source_text import ProblemList
from syncline.sync_config.yaml_nodes import YamlMap, YamlNode, YamlScalar, YamlSequence

__all__ = ["NodeReader"]


class NodeReader:
    """Reads values out of maps of one document."""

    def __init__(self, text: str, problems: ProblemList) -> None:
        self.problems = problems
        self._text = text

    def refuse_unknown(self, node: YamlMap, known: tuple[str, ...], where: str) -> None:
        """Every key that is not one of `known` is a problem."""
        for name, (key, _) in node.entries.items():
            if name not in known:
                close = get_close_matches(name, known, 1)
                hint = f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(known)}."
                message = f'There is no key "{name}" in {where}'
                self.problems.fatal(ProblemKind.UNKNOWN_KEY, message, key.span, hint=hint)

    def map_at(self, node: YamlMap, key: str) -> YamlMap | None:
        """The map under a key; None where there is none."""
        if key not in node.entries:
            return None
        value = node.entries[key][1]
        if isinstance(value, YamlMap):
            return value
        self.problems.fatal(ProblemKind.EXPECTED_MAP, f"{key} must be a map", value.span)
        return None

    def boolean(self, node: YamlMap, key: str, *, default: bool) -> bool:
        """The truth value under a key."""
        if key not in node.entries:
            return default
        value = node.entries[key][1]
        if isinstance(value, YamlScalar) and isinstance(value.value, bool):
            return value.value
        self.problems.fatal(ProblemKind.EXPECTED_BOOLEAN, f"{key} must be true or false", value.span)
        return default

    def integer(self, node: YamlMap, key: str) -> int | None:
        """The whole number under a key (`3.0` is one); None where there is none, or none can be read."""
        if key not in node.entries:
            return None
        value = node.entries[key][1]
        number = value.value if isinstance(value, YamlScalar) else None
        if isinstance(number, float) and number.is_integer():
            return int(number)
        if isinstance(number, int) and not isinstance(number, bool):
            return number
        self.problems.fatal(ProblemKind.EXPECTED_NUMBER, f"{key} must be a whole number", value.span)
        return None

    def priority(self, node: YamlMap) -> int | None:
        """The priority of a stream or bucket definition, 0 (most urgent) to 3; None where none is given."""
        if "priority" not in node.entries:
            return None
        value = node.entries["priority"][1]
        number = value.value if isinstance(value, YamlScalar) else None
        if isinstance(number, (int, float)) and not isinstance(number, bool) and number in range(LOWEST_PRIORITY + 1):
            return int(number)
        message = f"priority must be a whole number from 0 to {LOWEST_PRIORITY}"
        self.problems.fatal(ProblemKind.BAD_PRIORITY, message, value.span, hint="0 is sent first, 3 last.")
        return None

    def query(self, node: YamlNode) -> tuple[QueryText, ...]:
        """The query in a scalar, as a tuple of one; empty where it is no text."""
        if isinstance(node, YamlScalar) and isinstance(node.value, str):
            return (QueryText.of(node, self._text),)
        message = "A query must be a text"
        self.problems.fatal(ProblemKind.EXPECTED_STRING, message, node.span, hint="Write SELECT … FROM ….")
        return ()

    def queries(self, node: YamlNode, what: str) -> tuple[QueryText, ...]:
        """The queries in a list of texts."""
        if not isinstance(node, YamlSequence):
            self.problems.fatal(
                ProblemKind.EXPECTED_LIST, f"{what} must be a list", node.span, hint="Write\n- SELECT … FROM …"
            )
            return ()
        return tuple(query for item in node.items for query in self.query(item))
