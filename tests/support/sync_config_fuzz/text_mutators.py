"""Mutators of a document's characters and lines: slips of the keyboard, damaged files, and YAML that nobody asked for."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

__all__ = ["TEXT_MUTATORS"]

STRANGE = (
    "\x00", "\x07", "\x1b", "\x7f", "\x85", "\xa0", "\u2028", "\u200b", "\u202e", "\ufeff", "\ufffe", "\ud800", "\udfff",
    "\U0010ffff", "é", "é", "漢", "😀", "٣", "ſ", "ﬁ", "İ", "\t", "\r", "\r\n", "\n", "\n\n", " ", "  ", "\\", "'", '"', "''",
    "`", "%", "$", "?", "@", "#", " #", ":", ": ", "- ", ",", ";", "[", "]", "{", "}", "(", ")", "|", ">", "&a ", "*a", "!", "~",
    "/*", "*/", "--", "::", "->", "->>", "||", "&&", "<<: ", "? ", "---\n", "...\n", "%YAML 1.1\n---\n", "0", "9", "e", "_", ".",
)  # fmt: skip
TAGS = (
    "!!str ",
    "!!python/object:os.system ",
    "!<tag:x> ",
    "!!binary ",
    "!!set ",
    "!!timestamp ",
    "! ",
    "!%C3 ",
    "!x%ff ",
)
SCALARS = (
    "null", "~", "true", "yes", "0", "-0", "3", "3.0", "1e999", ".nan", ".inf", "0x10", "0o17", "1_000", "9" * 40, "'3'", "[]",
    "{}", "''", '"\\ud800"', '"\\U00110000"', '"\\x41"', "|\n   SELECT", ">2-\n  a", "|9\n a", "2001-01-01", "=", "<<", "*x", "&x 1",
)  # fmt: skip
KEYS = (
    "config", "edition", "streams", "bucket_definitions", "with", "event_definitions", "query", "queries", "parameters", "data",
    "payloads", "priority", "auto_subscribe", "accept_potentially_dangerous_queries", "timestamps_iso8601", "storage_version",
    "timestamp_max_precision", "unstable_sqlite_expression_engine", "fixed_json_extract", "<<", "",
)  # fmt: skip


def _span(draw: random.Random, text: str, longest: int = 12) -> tuple[int, int]:
    start = draw.randrange(len(text) + 1)
    return start, min(len(text), start + draw.randrange(1, longest + 1))


def delete(draw: random.Random, text: str) -> str:
    start, end = _span(draw, text)
    return text[:start] + text[end:]


def insert(draw: random.Random, text: str) -> str:
    start, _ = _span(draw, text)
    return text[:start] + draw.choice(STRANGE) * draw.choice((1, 1, 1, 2, 50)) + text[start:]


def replace(draw: random.Random, text: str) -> str:
    start, end = _span(draw, text, 3)
    return text[:start] + draw.choice(STRANGE) + text[end:]


def swap(draw: random.Random, text: str) -> str:
    a, b = sorted((_span(draw, text), _span(draw, text)))
    end = min(a[1], b[0])
    return text[: a[0]] + text[b[0] : b[1]] + text[end : b[0]] + text[a[0] : end] + text[b[1] :]


def duplicate(draw: random.Random, text: str) -> str:
    start, end = _span(draw, text, 40)
    return text[:end] + text[start:end] * draw.choice((1, 1, 2, 30)) + text[end:]


def truncate(draw: random.Random, text: str) -> str:
    return text[: draw.randrange(len(text) + 1)]


def change_lines(draw: random.Random, text: str) -> str:
    """Delete, repeat, move, indent or un-indent a line. A repeated one often is a duplicate key."""
    lines = text.split("\n")
    place = draw.randrange(len(lines))
    line = lines.pop(place)
    put = {
        "delete": [],
        "repeat": [line, line],
        "move": [],
        "indent": [draw.choice((" ", "  ", "\t")) + line],
        "outdent": [line.removeprefix(" ")],
        "comment": ["# " + line],
    }
    what = draw.choice(list(put))
    lines[place:place] = put[what]
    if what == "move":
        lines.insert(draw.randrange(len(lines) + 1), line)
    return "\n".join(lines)


def line_ends(draw: random.Random, text: str) -> str:
    return text.replace("\n", draw.choice(("\r\n", "\r", "\n\r", "\n\n", "\x85", "\u2028", " \n", "\t\n")))


def mark_first(draw: random.Random, text: str) -> str:
    return (
        draw.choice(("\ufeff", "\ufeff\ufeff", "\n\n", "---\n", "%YAML 1.2\n---\n", "%TAG ! x\n---\n", "\t", "# é\n"))
        + text
    )


def _values(text: str) -> list[re.Match[str]]:
    return list(re.finditer(r"(?<=: )[^\n]+|(?<=- )[^\n]+", text))


def value(draw: random.Random, text: str) -> str:
    """Another value where one stands, a tag, an anchor or an alias before it."""
    found = _values(text)
    if not found:
        return insert(draw, text)
    match = draw.choice(found)
    new = draw.choice(
        (
            draw.choice(SCALARS),
            draw.choice(TAGS) + match[0],
            f"&a {match[0]}",
            "*a",
            json.dumps(match[0]),
            f"[{match[0]}]",
            "",
        )
    )
    return text[: match.start()] + new + text[match.end() :]


def key(draw: random.Random, text: str) -> str:
    """Another key where one stands."""
    found = list(re.finditer(r"[\w\"%]+(?=:)", text))
    if not found:
        return insert(draw, text)
    match = draw.choice(found)
    new = draw.choice(
        (draw.choice(KEYS), draw.choice(KEYS), f'"{match[0]}"', match[0].upper(), "1", "? a", "[a]", "{a: b}", "*a")
    )
    return text[: match.start()] + new + text[match.end() :]


def edition(draw: random.Random, text: str) -> str:
    """Another edition, or the other kind of definitions."""
    if draw.random() < 0.3:
        a, b = ("streams:", "bucket_definitions:") if "streams:" in text else ("bucket_definitions:", "streams:")
        return text.replace(a, b, 1)
    if "edition" not in text:
        return f"config: {{edition: {draw.randrange(5)}}}\n{text}"
    return re.sub(
        r"(edition: *)\d+", lambda match: match[1] + draw.choice(("0", "1", "2", "3", "4", "3.0", "'3'")), text
    )


TEXT_MUTATORS: dict[str, Callable[[random.Random, str], str]] = {
    "delete characters": delete,
    "insert a strange character": insert,
    "replace characters": replace,
    "swap two places": swap,
    "duplicate a place": duplicate,
    "truncate": truncate,
    "change lines": change_lines,
    "change line ends": line_ends,
    "mark the beginning": mark_first,
    "change a value": value,
    "change a key": key,
    "change the edition": edition,
}
