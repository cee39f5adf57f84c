"""What to write instead of functions that people know from elsewhere and that the language does not have."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

__all__ = ["function_hint"]

_INSTEAD = {
    "abs": "Write iif(x < 0, 0 - x, x).",
    "array_length": "Write json_array_length(x): arrays are synced as JSON text.",
    "ceil": "Write 0 - CAST(0 - x AS integer): CAST rounds down.",
    "char_length": "Write length(x).",
    "coalesce": "Write ifnull(a, b), nested for more than two values.",
    "concat": "Write a || b.",
    "count": "Aggregates cannot be synced row by row; count on the device, or keep a counter column in the source.",
    "current_date": "Time cannot filter rows: a row would have to leave devices without a change. Keep a column in the source.",
    "current_timestamp": "Time cannot filter rows: a row would have to leave devices without a change. Keep a column in the source.",
    "date": "Write substring(datetime(x), 1, 10).",
    "floor": "Write CAST(x AS integer): it rounds down.",
    "json_array_elements": "Write json_each(x) in FROM.",
    "json_array_elements_text": "Write json_each(x) in FROM.",
    "json_object": "Sync the columns, and build JSON on the device.",
    "jsonb_array_elements": "Write json_each(x) in FROM.",
    "json_valid": "It exists in bucket_definitions only.",
    "left": "Write substring(x, 1, n).",
    "max": "Aggregates cannot be synced row by row; compute them on the device or in the source.",
    "min": "Aggregates cannot be synced row by row; compute them on the device or in the source.",
    "now": "Time cannot filter rows: a row would have to leave devices without a change. Keep a column in the source.",
    "nullif": "Write CASE WHEN a = b THEN NULL ELSE a END.",
    "position": "Write instr(text, part).",
    "right": "Write substring(x, 0 - n).",
    "strftime": "Write datetime(x) or unixepoch(x).",
    "strpos": "Write instr(text, part).",
    "substr": "Write substring(x, start, length).",
    "sum": "Aggregates cannot be synced row by row; compute them on the device or in the source.",
    "to_char": "Write datetime(x), or format on the device.",
    "unnest": "Write json_each(x) in FROM: arrays are synced as JSON text.",
}


def function_hint(name: str, known: Collection[str]) -> str:
    """A hint for a function that does not exist; `known` are those that do."""
    if name in _INSTEAD:
        return _INSTEAD[name]
    close = get_close_matches(name, known, 1)
    return f"Did you mean {close[0]}()?" if close else f"Functions: {', '.join(sorted(known))}."
