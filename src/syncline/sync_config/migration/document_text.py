"""Writes the YAML of a sync config."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from syncline.sync_config.yaml_nodes import YamlScalar

__all__ = ["QueryEntry", "StreamEntry", "block", "comment_lines", "key_text", "query_scalar"]

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_OLDER_TRUTH_VALUES = frozenset({"yes", "no", "on", "off", "y", "n"})
"""Texts in YAML 1.2; tools that read YAML 1.1 take them for truth values."""
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


@dataclass(frozen=True, slots=True)
class QueryEntry:
    """A query, with comment lines above it."""

    sql: str
    comments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """A stream; `settings` are its keys and values beside the queries, as YAML."""

    name: str
    settings: Sequence[str]
    queries: Sequence[QueryEntry]
    comments: Sequence[str] = ()

    def lines(self) -> list[str]:
        """The entry under `streams:`, not indented."""
        written = [*comment_lines(self.comments), f"{key_text(self.name)}:", *block(self.settings)]
        if len(self.queries) == 1:
            (query,) = self.queries
            return [*written, *block([*comment_lines(query.comments), *query_scalar("query:", query.sql)])]
        if not self.queries:
            return [*written, *block(["queries: []"])]
        entries = [
            line for query in self.queries for line in (*comment_lines(query.comments), *query_scalar("-", query.sql))
        ]
        return [*written, *block(["queries:", *block(entries)])]


def block(lines: Iterable[str]) -> list[str]:
    """The lines one level deeper."""
    return [f"  {line}" if line else line for line in lines]


def key_text(name: str) -> str:
    """A name as key of a map."""
    is_text = isinstance(YamlScalar(name, "", (0, 0)).value, str) and name.lower() not in _OLDER_TRUTH_VALUES
    is_plain = is_text and _PLAIN_KEY.fullmatch(name)
    return name if is_plain else _quoted(name)


def query_scalar(start: str, sql: str) -> list[str]:
    """A query after `start` (`query:` or `-`): a block of lines, or one text in quotes where characters would get lost in a block."""
    lines = sql.split("\n")
    if sql == sql.strip() and all(line.isprintable() and line == line.rstrip() for line in lines):
        return [f"{start} |", *block(lines)]
    return [f"{start} {_quoted(sql)}"]


def comment_lines(lines: Iterable[str]) -> list[str]:
    """Comments, each in one line; those with characters that YAML could take for the end of a line are left out."""
    return [f"# {line.lstrip('#').strip()}".rstrip() for line in lines if line.isprintable()]


def _quoted(text: str) -> str:
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
