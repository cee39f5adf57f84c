"""PURE: BSON documents of a sync stream, as a client reads them (protocol reference, 2.1 and 4).

The types that lines are made of are read, and no others: documents, arrays, text, numbers, booleans, null. A client so needs no BSON
library. Whole doubles become integers: the service writes checksums above 2^31-1 as doubles, for want of unsigned integers in BSON.
"""

from __future__ import annotations

from struct import Struct, error
from typing import Any

from syncline.errors import RemoteProtocolError

__all__ = ["DEPTH_MAX", "DOCUMENT_BYTES_MIN", "BsonLine", "read_document"]

DEPTH_MAX = 16  # documents and arrays inside of each other; a line needs 5
DOCUMENT_BYTES_MIN = 5  # bytes of a document without elements: its length and the end
_EXACT_MAX = 2.0**53  # above it a double is no exact integer

_DOUBLE, _TEXT, _DOCUMENT, _ARRAY, _BOOLEAN, _NULL, _INT32, _INT64 = 0x01, 0x02, 0x03, 0x04, 0x08, 0x0A, 0x10, 0x12

_int32 = Struct("<i").unpack_from
_int64 = Struct("<q").unpack_from
_double = Struct("<d").unpack_from


class BsonLine(bytes):
    """One line of a stream as a BSON document; where lines are JSON they are plain `bytes`."""


def read_document(data: bytes) -> dict[str, Any]:
    """One whole document. Raises RemoteProtocolError for anything but that, and for types that no line has."""
    try:
        size = _int32(data)[0]
        if size != len(data) or data[-1]:
            raise _broken("its length is wrong")
        elements = _elements(data, 4, size - 1, 1)
    except (error, IndexError, ValueError) as exc:  # ValueError: a name without end, and text that is no UTF-8
        raise _broken("it ends too early, or its text is not UTF-8") from exc
    return elements


def _elements(data: bytes, at: int, end: int, depth: int) -> dict[str, Any]:
    """The elements from `at` to `end`, which is where the document's closing zero stands."""
    if depth > DEPTH_MAX:
        raise _broken(f"it is nested deeper than {DEPTH_MAX}")
    found: dict[str, Any] = {}
    index = data.index
    while at < end:
        kind = data[at]
        name_end = index(0, at + 1, end)
        name = data[at + 1 : name_end].decode()
        at = name_end + 1
        if kind == _TEXT:  # the most frequent by far: every row, key and op id is one
            last = at + 3 + _int32(data, at)[0]
            if not at + 4 <= last < end or data[last]:
                raise _broken("a text has a wrong length")
            found[name] = data[at + 4 : last].decode()
            at = last + 1
        elif kind in (_DOCUMENT, _ARRAY):
            last = at - 1 + _int32(data, at)[0]
            if not at + 4 <= last < end or data[last]:
                raise _broken("a part of it has a wrong length")
            inner = _elements(data, at + 4, last, depth + 1)
            found[name] = inner if kind == _DOCUMENT else list(inner.values())
            at = last + 1
        else:
            found[name], at = _small(data, kind, at)
    if at != end:
        raise _broken("an element reaches over its end")
    return found


def _small(data: bytes, kind: int, at: int) -> tuple[Any, int]:
    """A value of a fixed size, and where it ends."""
    if kind == _INT32:
        return _int32(data, at)[0], at + 4
    if kind == _DOUBLE:
        value = _double(data, at)[0]
        return int(value) if -_EXACT_MAX <= value <= _EXACT_MAX and value.is_integer() else value, at + 8
    if kind == _INT64:
        return _int64(data, at)[0], at + 8
    if kind == _NULL:
        return None, at
    if kind == _BOOLEAN:
        if data[at] > 1:
            raise _broken("a boolean is neither 0 nor 1")
        return data[at] == 1, at + 1
    raise _broken(f"it has a value of type {kind:#04x}, which no line has")


def _broken(text: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"A BSON line cannot be read: {text}.")
