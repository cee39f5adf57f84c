"""PURE: lines of a sync stream as BSON documents (protocol reference, 2.1 and 2.5).

The operations of a data line are an array document that was made before, once for all clients that get it; here it is only joined
with the head of the line. A number that does not fit 32 bits is a double, as in the recorded streams: no client reads it otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

import bson
import msgspec

from syncline.protocol.lines import Line, TokenExpiresIn, line_key

__all__ = ["bson_array", "bson_data_line", "bson_line", "bson_number"]

_INT32_MAX = 2**31 - 1
_length = Struct("<i").pack
_EMPTY = 5  # bytes of a document without elements: its length and the end


def bson_number(value: int) -> int | float:
    """A checksum or count as BSON carries it."""
    return value if -_INT32_MAX - 1 <= value <= _INT32_MAX else float(value)


def bson_array(entries: Sequence[Mapping[str, Any]]) -> bytes:
    """An array of documents, to be joined into a data line."""
    document = bson.encode({"a": entries})
    return document[7:-1]  # after the length, the kind, the name and its end


def bson_line(line: Line) -> bytes:
    """Any line that is no data line."""
    if isinstance(line, TokenExpiresIn):
        return bson.encode({"token_expires_in": line.seconds})
    return bson.encode({line_key(line): msgspec.to_builtins(line)})


def bson_data_line(*, bucket: str, after: int, next_after: int, has_more: bool, entries: bytes) -> bytes:
    """A data line around the array that `bson_array` made."""
    name = bucket.encode()
    after_text, next_text = b"%d" % after, b"%d" % next_after
    inner = b"".join(
        (
            b"\x02bucket\0",
            _length(len(name) + 1),
            name,
            b"\0\x02after\0",
            _length(len(after_text) + 1),
            after_text,
            b"\0\x08has_more\0\x01" if has_more else b"\0\x08has_more\0\0",
            b"\x04data\0",
            entries,
            b"\x02next_after\0",
            _length(len(next_text) + 1),
            next_text,
            b"\0",
        )
    )
    inner_size = _EMPTY + len(inner)
    return b"".join((_length(inner_size + 6 + _EMPTY), b"\x03data\0", _length(inner_size), inner, b"\0\0"))
