"""JSON inside of values: reading, writing, paths and elements (sync config reference, 6.4)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.values import EvaluationError, real_text

__all__ = [
    "MISSING",
    "document_elements",
    "document_of",
    "elements",
    "follow",
    "from_json",
    "json_text",
    "member",
    "parse_json",
    "quote",
    "real_numbers",
]

JSON_DEPTH_MAX = 200  # levels of nesting in JSON that is read from a value

_encode_text = msgspec.json.Encoder().encode
_INDEX_KEY = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_INDEX_END = 2**32 - 1


def parse_json(value: SyncValue) -> Any:
    """The JSON document in a text. Raises EvaluationError where it is none, and for a key that repeats with another value."""
    if not isinstance(value, str):
        raise EvaluationError("JSON was expected, but the value is not a text")
    try:
        return _decode(value)
    except (ValueError, RecursionError):
        raise EvaluationError("The text is not valid JSON") from None


def document_of(value: SyncValue) -> Any:
    """The JSON document that `->` and the JSON functions read: a blob is a text in UTF-8, a number is JSON of itself."""
    if isinstance(value, bytes):
        return parse_json(value.decode("utf-8", errors="replace"))
    return parse_json(value) if isinstance(value, str) else value


def _no_constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) and any(json_text(found[key]) != json_text(value) for key, value in pairs):
        raise EvaluationError("A JSON object has a key twice, with different values")
    return _index_keys_first(found)


def _index_keys_first(members: dict[str, Any]) -> dict[str, Any]:
    """Keys that are array indexes come first, by number: the order in which objects of the wire's other side print (6.4)."""
    indexes = [key for key in members if key[:1].isdecimal() and _INDEX_KEY.fullmatch(key) and int(key) < _INDEX_END]
    if not indexes:
        return members
    return {key: members[key] for key in (*sorted(indexes, key=int), *members)}


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant).decode


def real_numbers(value: Any) -> Any:
    """The same JSON with every number as real, as the language defines for connection data (sync config reference, 2.3)."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value) if abs(value) < 2**1023 else None
    if isinstance(value, dict):
        members = {key: real_numbers(item) for key, item in cast("dict[str, Any]", value).items()}
        return _index_keys_first(members)
    if isinstance(value, list):
        return [real_numbers(item) for item in cast("list[Any]", value)]
    return value


def from_json(value: Any) -> SyncValue:
    """A JSON value as sync value: booleans 1/0, arrays and objects as JSON text."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    return json_text(value)


def quote(text: str) -> str:
    """A text as JSON string, escaped as JSON.stringify does; lone surrogates as `\\udXXX`."""
    try:
        return _encode_text(text).decode()
    except UnicodeEncodeError:
        return "".join(
            f"\\u{ord(character):04x}" if 0xD800 <= ord(character) <= 0xDFFF else _encode_text(character).decode()[1:-1]
            for character in f"{text}"
        ).join('""')


def json_text(value: Any, depth: int = 0) -> str:
    """JSON text without blanks; a real with integral value keeps `.0`."""
    if depth > JSON_DEPTH_MAX:
        raise EvaluationError(f"JSON is nested deeper than {JSON_DEPTH_MAX} levels")
    if isinstance(value, str):
        return quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _real_json(value)
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return f"{{{','.join(f'{quote(str(key))}:{json_text(item, depth + 1)}' for key, item in pairs)}}}"
    return f"[{','.join(json_text(item, depth + 1) for item in cast('list[Any]', value))}]"


def _real_json(value: float) -> str:
    """Row JSON of a real (protocol reference, section 9): `.0` for an integral value, null where it is not finite."""
    if not math.isfinite(value):
        return "null"
    text = real_text(value)
    return text if "." in text or "e" in text else f"{text}.0"


class _Missing:
    """Type of the mark for a path that leads nowhere."""


MISSING = _Missing()
"""What `follow` and `member` give where nothing stands; JSON null is None."""


def follow(document: Any, keys: Sequence[str]) -> Any:
    """What stands under the keys, one after the other; else MISSING."""
    for key in keys:
        document = member(document, key)
        if document is MISSING:
            break
    return document


def member(document: Any, key: SyncValue) -> Any:
    """The member of an object by text, or of an array by index (an integer, or a text of decimal digits); else MISSING."""
    if isinstance(document, dict):
        return cast("dict[str, Any]", document).get(str(key), MISSING)
    if isinstance(document, list):
        items = cast("list[Any]", document)
        if isinstance(key, str) and not (key.isascii() and key.isdecimal() and len(key) < 10):
            return MISSING
        index = int(key) if isinstance(key, (str, int)) else -1
        return items[index] if 0 <= index < len(items) else MISSING
    return MISSING


def elements(value: SyncValue) -> list[tuple[SyncValue, SyncValue]]:
    """Rows (key, value) of `json_each`: of an array, of an object, or of a single JSON scalar; none of NULL.

    Arrays and objects among them are texts with every number as real, so that elements of rows and of connection data that mean
    the same are the same text (6.4). Raises EvaluationError for what is no JSON text.
    """
    return [] if value is None else document_elements(parse_json(value))


def document_elements(document: Any) -> list[tuple[SyncValue, SyncValue]]:
    """`elements` of a document that has been read already."""
    if isinstance(document, list):
        return [(index, _element(item)) for index, item in enumerate(cast("list[Any]", document))]
    if isinstance(document, dict):
        return [(key, _element(item)) for key, item in cast("dict[str, Any]", document).items()]
    return [(None, from_json(document))]


def _element(item: Any) -> SyncValue:
    return json_text(real_numbers(item)) if isinstance(item, (list, dict)) else from_json(item)
