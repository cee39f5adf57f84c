"""JSON inside of values: reading, paths and elements (sync config reference, 6.4)."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import msgspec

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.values import EvaluationError, real_text

__all__ = ["elements", "extract", "follow", "from_json", "json_text", "parse_json", "quote"]

JSON_DEPTH_MAX = 200  # levels of nesting in JSON that is read from a value

_encode_text = msgspec.json.Encoder().encode


def parse_json(value: SyncValue) -> Any:
    """The JSON document in a value. Raises EvaluationError where it is none."""
    if not isinstance(value, str):
        raise EvaluationError("JSON was expected, but the value is not a text")
    try:
        return json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise EvaluationError("The text is not valid JSON") from None


def _no_constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


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


def extract(document: SyncValue, path: SyncValue, *, as_json: bool) -> SyncValue:
    """`->` (`as_json`) and `->>`: a text key is literal unless it begins with `$`, then it is split on dots."""
    if document is None or path is None or isinstance(document, bytes):
        return None
    parsed = parse_json(document) if isinstance(document, str) else document  # a number is JSON of itself
    is_path = isinstance(path, str) and path.startswith("$")
    found = follow(parsed, str(path).split(".")[1:]) if is_path else _step(parsed, path)
    if found is _MISSING:
        return None
    return json_text(found) if as_json else from_json(found)


class _Missing:
    """Type of the mark for a path that leads nowhere."""


_MISSING = _Missing()


def follow(document: Any, keys: list[str]) -> Any:
    """What stands under the keys, one after the other."""
    for key in keys:
        document = _step(document, key)
        if document is _MISSING:
            break
    return document


def _step(document: Any, key: SyncValue) -> Any:
    if isinstance(document, dict):
        return cast("dict[str, Any]", document).get(str(key), _MISSING)
    if isinstance(document, list):
        items = cast("list[Any]", document)
        if isinstance(key, str) and not (key.isascii() and key.isdecimal()):
            return _MISSING
        index = int(key) if isinstance(key, (str, int)) else -1
        return items[index] if 0 <= index < len(items) else _MISSING
    return _MISSING


def elements(value: SyncValue) -> list[tuple[SyncValue, SyncValue]]:
    """Rows (key, value) of `json_each`: of an array, of an object, or of a single JSON scalar; none of NULL."""
    if value is None:
        return []
    document = parse_json(value)
    if isinstance(document, list):
        return [(index, from_json(item)) for index, item in enumerate(cast("list[Any]", document))]
    if isinstance(document, dict):
        return [(key, from_json(item)) for key, item in cast("dict[str, Any]", document).items()]
    return [(None, from_json(document))]
