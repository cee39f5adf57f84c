"""Merging three values: what the device read, what it wrote, and what the row holds now. PURE.

Facts: docs/reference/write-path.md, 4 (strategy 8).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Any, cast

__all__ = ["MERGE_LINES_MAX", "Merge", "Unmergeable", "merge_json", "merge_set", "merge_text"]

MERGE_LINES_MAX = 2_000  # lines of one text that are compared: the effort grows with the square, to about 0.2 s here

Merge = Callable[[Any, Any, Any], Any]
"""(base, mine, theirs) to the merged value: what the device read, what it wrote, what the row holds. Raises Unmergeable."""


class Unmergeable(ValueError):
    """Both sides have changed the same place, or a value is none of the kind that is merged."""


def merge_text(base: Any, mine: Any, theirs: Any) -> str:
    """Texts, line by line: changes in different places join, equal changes count once.

    Raises Unmergeable where both sides changed the same lines, or lines side by side, and for texts above MERGE_LINES_MAX.
    """
    sides = [_lines(value) for value in (base, mine, theirs)]
    return "".join(_merge_lines(*sides))


def merge_json(base: Any, mine: Any, theirs: Any) -> str:
    """JSON objects, as text or as they are: what the device changed is put into what is there now, key by key, at any depth.

    It is the effect of a JSON merge patch (RFC 7396) from base to mine, with two differences: null is a value like others, and a key that
    the device did not change stays whatever the row says. Where both changed one key, the device's arrives last and wins. Anything but
    an object is one value. Raises Unmergeable for a text that is no JSON.
    """
    return _dump(_merge_values(_parse(base), _parse(mine), _parse(theirs)))


def merge_set(base: Any, mine: Any, theirs: Any) -> str:
    """JSON arrays as sets, as text or as they are: what the row has, without what the device took out, with what it put in.

    The order is the row's, new elements last. Raises Unmergeable for what is no array.
    """
    before, after, stored = (_elements(value) for value in (base, mine, theirs))
    removed = before.keys() - after.keys()
    merged = {key: element for key, element in stored.items() if key not in removed}
    merged |= {key: element for key, element in after.items() if key not in before and key not in merged}
    return _dump(list(merged.values()))


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, str):
        raise Unmergeable("not a text")
    lines = value.splitlines(keepends=True)
    if len(lines) > MERGE_LINES_MAX:
        raise Unmergeable("too many lines")
    return lines


def _merge_lines(base: list[str], mine: list[str], theirs: list[str]) -> list[str]:
    """Walk over the places where all three agree; between two of them, at most one side may differ from the base."""
    merged: list[str] = []
    at_base = at_mine = at_theirs = 0
    for start, in_mine, in_theirs, length in _agreements(base, mine, theirs):
        old, my, their = base[at_base:start], mine[at_mine:in_mine], theirs[at_theirs:in_theirs]
        if my == old:
            merged += their
        elif their in (old, my):
            merged += my
        else:
            raise Unmergeable("both sides changed the same lines")
        merged += base[start : start + length]
        at_base, at_mine, at_theirs = start + length, in_mine + length, in_theirs + length
    return merged


def _agreements(base: list[str], mine: list[str], theirs: list[str]) -> list[tuple[int, int, int, int]]:
    """Where stretches of the base stand in both sides: (in base, in mine, in theirs, lines); the end of all three comes last."""
    found: list[tuple[int, int, int, int]] = []
    of_mine, of_theirs = _matching(base, mine), _matching(base, theirs)
    i = j = 0
    while i < len(of_mine) and j < len(of_theirs):
        a, b = of_mine[i], of_theirs[j]
        start, end = max(a.a, b.a), min(a.a + a.size, b.a + b.size)
        if start < end:
            found.append((start, a.b + start - a.a, b.b + start - b.a, end - start))
        if a.a + a.size < b.a + b.size:
            i += 1
        else:
            j += 1
    return [*found, (len(base), len(mine), len(theirs), 0)]


def _matching(left: list[str], right: list[str]) -> list[Any]:
    return list(SequenceMatcher(None, left, right, autojunk=True).get_matching_blocks())


def _parse(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as exc:
        raise Unmergeable("no JSON") from exc


def _dump(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError as exc:
        raise Unmergeable("nested too deeply") from exc


def _merge_values(base: Any, mine: Any, theirs: Any) -> Any:
    after, stored = _object(mine), _object(theirs)
    if after is None or stored is None:
        return theirs if _same(mine, base) else mine
    before = _object(base) or {}
    merged = {key: value for key, value in stored.items() if key in after or key not in before}
    for key, value in after.items():
        if key in before and _same(before[key], value):
            continue  # the device left it as it was
        merged[key] = _merge_values(before.get(key), value, stored[key]) if key in stored else value
    return merged


def _object(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _same(left: Any, right: Any) -> bool:
    """Equal as JSON: true is not 1."""
    return _canonical(left) == _canonical(right)


def _elements(value: Any) -> dict[str, Any]:
    """The elements by their canonical text; none for a column that has no value."""
    parsed = _parse(value)
    if parsed is None:
        return {}
    if not isinstance(parsed, list):
        raise Unmergeable("no array")
    return {_canonical(element): element for element in cast("list[Any]", parsed)}


def _canonical(value: Any) -> str:
    try:
        return json.dumps(value, sort_keys=True)
    except RecursionError as exc:
        raise Unmergeable("nested too deeply") from exc
