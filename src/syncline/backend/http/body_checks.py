"""What an upload's JSON may look like, beyond its types. Pure.

Nothing that is sent may be read in two ways, and nothing may be so deep or so long that it costs more than it says.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, cast

import msgspec

from syncline.backend.limits import JSON_DEPTH_MAX, ROW_ID_CHARACTERS_MAX
from syncline.backend.persisters.base import WriteRefused
from syncline.errors import RequestInvalid
from syncline.protocol.crud import CrudOperation, CrudTransaction

__all__ = ["check_operations", "check_repeated_names"]

_NESTED = (dict, list)
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def check_repeated_names(body: bytes) -> None:
    """Refuse a JSON text in which an object has one name twice: readers differ in which one counts. Raises RequestInvalid.

    What is no JSON passes: whoever reads it says so. Each member of an object has one colon that stands in no text, so more colons
    than members are names that came twice.
    """
    colons = body.count(b":")
    if not colons:
        return
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    members = _members(value)
    if members != colons and members != _TEXT.sub(b"", body).count(b":"):
        raise RequestInvalid(["an object of the body has one name twice"])


def check_operations(transaction: CrudTransaction) -> None:
    """Refuse ids and values that no column of a table is meant for. Raises WriteRefused (INVALID_DATA)."""
    for index, entry in enumerate(transaction.crud):
        if problem := _problem(entry):
            raise WriteRefused("INVALID_DATA", problem, operation_index=index)


def _problem(entry: CrudOperation) -> str:
    if not entry.id:
        return "The id of a row is empty."
    if len(entry.id) > ROW_ID_CHARACTERS_MAX:
        return f"The id of a row is longer than {ROW_ID_CHARACTERS_MAX} characters."
    for values in (entry.op_data, entry.previous_values):
        if values and any(_deeper_than(value, JSON_DEPTH_MAX) for value in values.values()):
            return f"A value has more than {JSON_DEPTH_MAX} levels of lists and objects."
    return ""


def _deeper_than(value: Any, levels: int) -> bool:
    """Whether lists and objects lie in each other more than so many times."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [inner for outer in layer for inner in _inner(outer)]
        if not layer:
            return False
    return True


def _members(value: Any) -> int:
    """Members of all objects in a JSON value."""
    members, waiting = 0, [value]
    while waiting:
        outer = waiting.pop()
        inside = _inner(outer)
        members += len(inside) if type(outer) is dict else 0
        waiting += [inner for inner in inside if type(inner) in _NESTED]
    return members


def _inner(outer: Any) -> Collection[Any]:
    """What a list or an object holds; nothing for other values."""
    if type(outer) is dict:
        return cast("dict[str, Any]", outer).values()
    return cast("list[Any]", outer) if type(outer) is list else ()
