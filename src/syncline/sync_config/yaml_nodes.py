"""Reads YAML as a tree of nodes with positions, safely: no tags, no aliases, a bounded depth and size.

Scalars follow the core schema of YAML 1.2: `yes` is a text, `1` an integer, `true` a truth value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import cast

import yaml

from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import ProblemList, Span

__all__ = [
    "DEPTH_MAX",
    "DOCUMENT_CHARS_MAX",
    "NODES_MAX",
    "YamlMap",
    "YamlNode",
    "YamlScalar",
    "YamlSequence",
    "read_yaml",
]

DOCUMENT_CHARS_MAX = 120_000  # characters of a config: what compiles in under a second; 200 streams have about 60,000
NODES_MAX = 20_000  # scalars, lists and maps; 200 streams have about 2,000
DEPTH_MAX = 20  # levels; a sync config has five

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class YamlScalar:
    """A text, number, truth value or null. `style` is YAML's: None or empty for plain, else one of `' \" | >`."""

    text: str
    style: str
    span: Span

    @property
    def value(self) -> str | int | float | bool | None:
        """The value that is meant; only plain scalars are anything but texts."""
        if self.style:
            return self.text
        if self.text in _NULL:
            return None
        if self.text in _TRUE or self.text in _FALSE:
            return self.text in _TRUE
        if _INTEGER.fullmatch(self.text):
            return int(self.text)
        return float(self.text) if _REAL.fullmatch(self.text) else self.text


@dataclass(slots=True)
class YamlSequence:
    """A list."""

    span: Span
    items: list[YamlNode] = field(default_factory=list["YamlNode"])


@dataclass(slots=True)
class YamlMap:
    """A map from names to nodes; every key with its own place."""

    span: Span
    entries: dict[str, tuple[YamlScalar, YamlNode]] = field(default_factory=dict[str, tuple[YamlScalar, "YamlNode"]])


YamlNode = YamlScalar | YamlSequence | YamlMap


class _Refused(Exception):
    def __init__(self, kind: ProblemKind, message: str, span: Span, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.span = span
        self.hint = hint


def read_yaml(text: str, problems: ProblemList) -> YamlNode | None:
    """The document's root, or None after a fatal problem that leaves nothing to look at."""
    if len(text) > DOCUMENT_CHARS_MAX:
        problems.fatal(ProblemKind.TOO_LARGE, f"The config is longer than {DOCUMENT_CHARS_MAX} characters", (0, 1))
        return None
    try:
        reader = _Reader(text, problems)
        try:
            return reader.document()
        except (ValueError, OverflowError):  # PyYAML leaves numbers unchecked: `\UFFFFFFFF`, a version of 5,000 digits
            place = reader.place
            problems.fatal(ProblemKind.YAML_SYNTAX, "This is not YAML: a number is too large", (place, place + 1))
    except _Refused as exc:
        problems.fatal(exc.kind, exc.message, exc.span, hint=exc.hint)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = mark.index if mark is not None else 0
        problems.fatal(
            ProblemKind.YAML_SYNTAX,
            f"This is not YAML: {exc.problem or exc.context or 'unreadable'}",
            (place, place + 1),
        )
    except yaml.YAMLError:
        problems.fatal(
            ProblemKind.YAML_SYNTAX, "This is not YAML: the text contains characters that YAML does not allow", (0, 1)
        )
    return None


class _Reader:
    """Builds nodes from PyYAML's events (its pure Python parser, whose marks count characters)."""

    def __init__(self, text: str, problems: ProblemList) -> None:
        self._loader = yaml.SafeLoader(text)
        self._problems = problems
        self._nodes = 0

    @property
    def place(self) -> int:
        """How far the text has been read."""
        return self._loader.index

    def _next(self) -> yaml.Event:
        return cast("yaml.Event", self._loader.get_event())  # pyright: ignore[reportUnknownMemberType]  # the library has no types

    def document(self) -> YamlNode | None:
        self._next()  # stream start
        first = self._next()
        if not isinstance(first, yaml.DocumentStartEvent):
            self._problems.fatal(
                ProblemKind.EMPTY_CONFIG,
                "The config is empty",
                (0, 1),
                hint="Begin with:\nconfig:\n  edition: 3\nstreams:\n  …",
            )
            return None
        root = self._node(self._next(), 1)
        self._next()  # document end
        after = self._next()
        if isinstance(after, yaml.DocumentStartEvent):
            raise _Refused(ProblemKind.YAML_MULTIPLE_DOCUMENTS, "A config is a single YAML document", _span(after))
        return root

    def _node(self, event: yaml.Event, depth: int) -> YamlNode:
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(
                ProblemKind.YAML_SYNTAX, "YAML aliases are not supported", _span(event), "Write the value out."
            )
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise _Refused(ProblemKind.TOO_LARGE, f"The config has more than {NODES_MAX} parts", _span(event))
        if depth > DEPTH_MAX:
            raise _Refused(ProblemKind.TOO_LARGE, f"The config is nested deeper than {DEPTH_MAX} levels", _span(event))
        if isinstance(event, (yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent)) and event.tag:
            raise _Refused(ProblemKind.YAML_SYNTAX, "YAML tags are not supported here", _span(event))
        if isinstance(event, yaml.ScalarEvent):
            return YamlScalar(str(event.value), event.style or "", _span(event))
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, depth)
        return self._map(event, depth)

    def _sequence(self, start: yaml.Event, depth: int) -> YamlSequence:
        sequence = YamlSequence(_span(start))
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            sequence.items.append(self._node(event, depth + 1))
        return sequence

    def _map(self, start: yaml.Event, depth: int) -> YamlMap:
        found = YamlMap(_span(start))
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(self._next(), depth + 1)
            if not isinstance(key, YamlScalar) or not isinstance(key.value, str):
                self._problems.fatal(
                    ProblemKind.EXPECTED_STRING, "A key must be a text", key.span, hint="Put the key in quotes."
                )
            elif key.value in found.entries:
                self._problems.fatal(
                    ProblemKind.YAML_DUPLICATE_KEY, f'The key "{key.value}" stands here twice', key.span
                )
            else:
                found.entries[key.value] = (key, value)
        return found


def _span(event: yaml.Event) -> Span:
    start, end = event.start_mark, event.end_mark
    return (start.index if start else 0, end.index if end else 0)
