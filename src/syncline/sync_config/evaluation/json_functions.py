"""Functions and operators of JSON (sync config reference, 5 and 6.4).

Paths have two readings. With `fixed_json_extract`, a key that does not begin with `$` is one key, and JSON null is `null` for `->`
and NULL else. Without it ("unfixed", the default of edition 1) every key is split at its dots, a path may lead on through JSON null,
and JSON null is NULL for `->` and the text `null` else. In both, what stands before the first dot of a path with `$` is dropped.
"""

from __future__ import annotations

from typing import Any, cast

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.json_values import (
    MISSING,
    document_elements,
    document_of,
    follow,
    from_json,
    json_text,
    member,
    parse_json,
)
from syncline.sync_config.evaluation.values import EvaluationError, equal

__all__ = [
    "arrow",
    "double_arrow",
    "in_elements",
    "in_json",
    "json_array_length",
    "json_extract",
    "json_keys",
    "json_valid",
    "unfixed_arrow",
    "unfixed_double_arrow",
    "unfixed_json_extract",
]


def arrow(document: SyncValue, key: SyncValue) -> SyncValue:
    """`document -> key`: the member as JSON text."""
    found = _find(document, key)
    return None if found is MISSING else json_text(found)


def double_arrow(document: SyncValue, key: SyncValue) -> SyncValue:
    """`document ->> key`: the member as value."""
    found = _find(document, key)
    return None if found is MISSING else from_json(found)


def json_extract(document: SyncValue, path: SyncValue, *_more: SyncValue) -> SyncValue:
    """`json_extract(document, path)`; further paths are accepted and mean nothing."""
    return double_arrow(document, _checked_path("json_extract", path))


def unfixed_arrow(document: SyncValue, key: SyncValue) -> SyncValue:
    """`->` without `fixed_json_extract`."""
    found = _find_unfixed(document, key)
    return None if found is MISSING or found is None else json_text(found)


def unfixed_double_arrow(document: SyncValue, key: SyncValue) -> SyncValue:
    """`->>` without `fixed_json_extract`."""
    found = _find_unfixed(document, key)
    return None if found is MISSING else "null" if found is None else from_json(found)


def unfixed_json_extract(document: SyncValue, path: SyncValue, *_more: SyncValue) -> SyncValue:
    """`json_extract` without `fixed_json_extract`."""
    return unfixed_double_arrow(document, _checked_path("json_extract", path))


def json_array_length(document: SyncValue, path: SyncValue = "$") -> SyncValue:
    """`json_array_length(document[, path])`: 0 for what is no array, NULL where the path leads nowhere."""
    keys = _path_keys(_checked_path("json_array_length", path))
    if document is None or keys is None:
        return None
    found = follow(document_of(document), keys)
    if found is MISSING:
        return None
    return len(cast("list[Any]", found)) if isinstance(found, list) else 0


def json_keys(document: SyncValue) -> SyncValue:
    """`json_keys(document)`: the keys of an object as JSON array text. Raises EvaluationError for what is no object."""
    if document is None:
        return None
    found = document_of(document)
    if not isinstance(found, dict):
        raise EvaluationError("json_keys: the JSON is not an object")
    return json_text(list(cast("dict[str, Any]", found)))


def json_valid(document: SyncValue) -> SyncValue:
    """`json_valid(x)`: whether it can be read as JSON; 0 for NULL."""
    try:
        document_of(document)
    except EvaluationError:
        return 0
    return 0 if document is None else 1


def in_json(value: SyncValue, array: SyncValue) -> SyncValue:
    """`x IN <JSON array text>`: NULL where a side is NULL; a null in the array equals nothing. Raises EvaluationError for no array."""
    if value is None or array is None:
        return None
    document = parse_json(array)
    if not isinstance(document, list):
        raise EvaluationError("IN: the JSON on the right is not an array")
    return _is_among(value, document)


def in_elements(value: SyncValue, array: SyncValue) -> SyncValue:
    """`x IN (SELECT value FROM json_each(array))`: as `in_json`, but an object counts by its values and a scalar by itself."""
    return None if value is None or array is None else _is_among(value, parse_json(array))


def _is_among(value: SyncValue, document: Any) -> int:
    return 1 if any(equal(value, element) for _, element in document_elements(document)) else 0


def _checked_path(function: str, path: SyncValue) -> str | None:
    if path is None:
        return None
    if not isinstance(path, str) or not path.startswith("$"):
        raise EvaluationError(f"{function}: the path must begin with $")
    return path


def _path_keys(path: str | None) -> list[str] | None:
    return None if path is None else path.split(".")[1:]


def _find(document: SyncValue, key: SyncValue) -> Any:
    """What a key or path leads to; MISSING also for a document that is null as a whole."""
    if document is None or key is None:
        return MISSING
    root = document_of(document)
    if root is None:
        return MISSING
    if isinstance(key, str) and key.startswith("$"):
        return follow(root, key.split(".")[1:])
    return member(root, key)


def _find_unfixed(document: SyncValue, key: SyncValue) -> Any:
    if not isinstance(key, str):
        return _find(document, key)
    found = MISSING if document is None else document_of(document)
    if found is None:
        return MISSING
    for part in key.split(".")[key.startswith("$") :]:
        found = member(found, part)
        if found is None or found is MISSING:
            break
    return found
