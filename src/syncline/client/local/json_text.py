"""JSON texts as the field's clients write and compare them (client SQLite reference, 6). Pure, no I/O."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["changed_values", "decode_object", "encode_compact", "merge_objects"]


def decode_object(text: str) -> dict[str, Any]:
    """A JSON object. Raises ValueError for anything else, and for numbers that no double can hold."""
    found = json.loads(text, parse_float=_finite, parse_constant=_refuse)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found  # pyright: ignore[reportUnknownVariableType]  # of any JSON


def encode_compact(value: Any) -> str:
    """Compact JSON with sorted keys; text is not escaped beyond what JSON demands."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)


def changed_values(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The values of `new` that differ from `old`: null for a key that is gone. A missing key and null are the same."""
    changed = {key: value for key, value in new.items() if not same_json(old.get(key), value)}
    changed.update((key, None) for key, value in old.items() if key not in new and value is not None)
    return changed


def same_json(one: object, other: object) -> bool:
    """Equality of JSON values: 1, 1.0 and true are three values."""
    return encode_compact(one) == encode_compact(other)


def merge_objects(texts: tuple[str, ...]) -> str:
    """Objects joined textually into one, without a look at their keys: how wide rows are made of parts."""
    parts: list[str] = []
    for text in texts:
        stripped = text.strip()
        if not (stripped.startswith("{") and stripped.endswith("}")):
            raise ValueError("not a JSON object")
        inner = stripped[1:-1].strip()
        if inner:
            parts.append(inner)
    return "{" + ",".join(parts) + "}"


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("number out of range")
    return number


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is no JSON")
