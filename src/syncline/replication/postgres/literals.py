"""PURE: taking apart Postgres' text forms of arrays, composites and ranges (Postgres manual, 8.15 to 8.17)."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ArrayItem", "RangeText", "parse_array", "parse_composite", "parse_multirange", "parse_range"]

ArrayItem = str | None | list["ArrayItem"]
"""An element's text, NULL, or an array of the next dimension."""


class RangeText(NamedTuple):
    """Bounds of a range as texts; None where it is unbounded."""

    lower: str | None
    upper: str | None
    lower_exclusive: bool
    upper_exclusive: bool


def parse_array(text: str, delimiter: str = ",") -> list[ArrayItem]:
    """Elements of an array literal; a lower-bound prefix such as `[0:2]=` is dropped. Raises ValueError where it is none."""
    start = text.index("{")
    items, end = _parse_array_at(text, start, delimiter)
    if end != len(text):
        raise ValueError("text after the array")
    return items


def _parse_array_at(text: str, start: int, delimiter: str) -> tuple[list[ArrayItem], int]:
    items: list[ArrayItem] = []
    position = start + 1
    if text[position] == "}":
        return items, position + 1
    while True:
        item: ArrayItem
        if text[position] == "{":
            item, position = _parse_array_at(text, position, delimiter)
        elif text[position] == '"':
            item, position = _quoted(text, position)
        else:
            end = position
            while text[end] != delimiter and text[end] != "}":
                end += 2 if text[end] == "\\" else 1
            bare = text[position:end]
            item, position = (None if bare.upper() == "NULL" else bare.replace("\\", "")), end
        items.append(item)
        if text[position] == "}":
            return items, position + 1
        if text[position] != delimiter:
            raise ValueError("not an array")
        position += 1


def _quoted(text: str, start: int) -> tuple[str, int]:
    """A double-quoted part with backslash escapes, and doubled quotes as composites write them; its text and where it ends."""
    parts: list[str] = []
    position = start + 1
    while True:
        character = text[position]
        if character == "\\":
            parts.append(text[position + 1])
            position += 2
        elif character == '"':
            if text[position + 1 : position + 2] != '"':
                return "".join(parts), position + 1
            parts.append('"')
            position += 2
        else:
            parts.append(character)
            position += 1


def parse_composite(text: str) -> list[str | None]:
    """Attribute texts of a composite literal; an empty attribute is NULL. Raises ValueError where it is none."""
    if text[0] != "(" or text[-1] != ")":
        raise ValueError("not a composite")
    values: list[str | None] = []
    position, last = 1, len(text) - 1
    while True:
        value, position = _bound(text, position, stops=",)")
        values.append(value)
        if position >= last:
            return values
        position += 1


def _bound(text: str, position: int, *, stops: str) -> tuple[str | None, int]:
    """A value up to a stop: bare text and quoted parts may follow each other; nothing at all is NULL."""
    parts: list[str] = []
    start = position
    while text[position] not in stops:
        if text[position] == '"':
            part, position = _quoted(text, position)
        elif text[position] == "\\":
            part, position = text[position + 1], position + 2
        else:
            part, position = text[position], position + 1
        parts.append(part)
    return ("".join(parts) if position > start else None), position


def parse_range(text: str) -> RangeText | None:
    """Bounds of a range literal; None for `empty`. Raises ValueError where it is none."""
    if text == "empty":
        return None
    parsed, end = _parse_range_at(text, 0)
    if end != len(text):
        raise ValueError("text after the range")
    return parsed


def _parse_range_at(text: str, start: int) -> tuple[RangeText, int]:
    if text[start] not in "[(":
        raise ValueError("not a range")
    lower, position = _bound(text, start + 1, stops=",")
    upper, position = _bound(text, position + 1, stops="])")
    return RangeText(lower, upper, text[start] == "(", text[position] == ")"), position + 1


def parse_multirange(text: str) -> list[RangeText]:
    """Ranges of a multirange literal. Raises ValueError where it is none."""
    if text[0] != "{" or text[-1] != "}":
        raise ValueError("not a multirange")
    ranges: list[RangeText] = []
    position = 1
    while text[position] != "}":
        parsed, position = _parse_range_at(text, position)
        ranges.append(parsed)
        if text[position] == ",":
            position += 1
    return ranges
