"""PURE: operations and lines in the form that a client reads. Row data is never parsed: it is the text that was stored and hashed.

What is costly, the array of a chunk's operations, is made once per form and shared; the head of a line is each session's own.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import orjson

from syncline.protocol.bson_lines import bson_array, bson_data_line, bson_line, bson_number
from syncline.protocol.line_formats import LineFormat
from syncline.protocol.lines import Line, encode_line
from syncline.protocol.ops import OpType, to_signed32
from syncline.storage.model import OP_CODES, OpChunk, StoredOp

__all__ = ["EncodedChunk", "OpCounts", "OpsForm", "encode_chunk", "encode_data_line", "encode_stream_line", "ops_form"]


_INT32_MAX = 2**31 - 1


class OpsForm(enum.Enum):
    """How the operations of a data line are written."""

    RAW_JSON = "raw"  # JSON; row data is a text
    NESTED_JSON = "nested"  # JSON; row data is an object, as old clients want it
    BSON = "bson"  # BSON; row data is a text, whatever `raw_data` says (protocol reference, 2.1 and 4)


def ops_form(line_format: LineFormat, *, raw_data: bool) -> OpsForm:
    """The form for what a client asked."""
    if line_format is LineFormat.BSON:
        return OpsForm.BSON
    return OpsForm.RAW_JSON if raw_data else OpsForm.NESTED_JSON


class OpCounts(NamedTuple):
    """How many operations of each kind."""

    put: int
    remove: int
    move: int
    clear: int


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """Consecutive operations of one bucket with op ids in (`after`, `next_after`], ready to be put into a line."""

    bucket: str
    after: int
    next_after: int
    has_more: bool
    ops: bytes  # the array of operations in one form
    op_count: int
    counts: OpCounts | None  # of each kind; None where all are PUT, as nearly always
    newest_target: int  # the newest op that one of these gave way to (compaction); 0 where none did


class _Put(msgspec.Struct, gc=False):
    """A PUT, or with other values for `op` and `data` a REMOVE. One is made per operation: the garbage collector never sees it."""

    op_id: str
    op: str
    object_type: str | None
    object_id: str | None
    checksum: int
    subkey: str | None
    data: str | msgspec.Raw | None


class _Tombstone(msgspec.Struct, gc=False):
    """A MOVE or a CLEAR."""

    op_id: str
    op: str
    checksum: int


_encode = msgspec.json.Encoder().encode
_PUT, _REMOVE, _CLEAR = OP_CODES[OpType.PUT], OP_CODES[OpType.REMOVE], OP_CODES[OpType.CLEAR]
_MOVE = OP_CODES[OpType.MOVE]


def encode_chunk(chunk: OpChunk, form: OpsForm) -> EncodedChunk:
    """Encode the operations of a chunk."""
    rows = chunk.rows
    match form:
        case OpsForm.RAW_JSON:
            ops = _encode(_json_entries(rows))
        case OpsForm.NESTED_JSON:
            ops = _encode([_nested(entry) for entry in _json_entries(rows)])
        case OpsForm.BSON:
            ops = bson_array(_bson_entries(rows))
    counts = _counts(rows)
    # Only a MOVE or a CLEAR gave way to another: most chunks have none, and are not looked through.
    newest_target = chunk.newest_target if counts is not None else 0
    return EncodedChunk(
        chunk.bucket, chunk.after, chunk.next_after, chunk.has_more, ops, len(rows), counts, newest_target
    )


def _counts(rows: Sequence[StoredOp]) -> OpCounts | None:
    kinds = [row[1] for row in rows]
    puts = kinds.count(_PUT)
    if puts == len(kinds):
        return None
    return OpCounts(puts, kinds.count(_REMOVE), kinds.count(_MOVE), kinds.count(_CLEAR))


def encode_data_line(chunk: EncodedChunk, form: OpsForm) -> bytes:
    """A data line: a line of NDJSON, newline included, or a BSON document."""
    if form is OpsForm.BSON:
        return bson_data_line(
            bucket=chunk.bucket,
            after=chunk.after,
            next_after=chunk.next_after,
            has_more=chunk.has_more,
            entries=chunk.ops,
        )
    return b'{"data":{"bucket":%b,"after":"%d","has_more":%b,"data":%b,"next_after":"%d"}}\n' % (
        orjson.dumps(chunk.bucket),
        chunk.after,
        b"true" if chunk.has_more else b"false",
        chunk.ops,
        chunk.next_after,
    )


def encode_stream_line(line: Line, line_format: LineFormat) -> bytes:
    """Any line that is no data line."""
    return bson_line(line) if line_format is LineFormat.BSON else encode_line(line)


def _json_entries(rows: Sequence[StoredOp]) -> list[_Put | _Tombstone]:
    return [
        _Put(str(op_id), "PUT", object_type, object_id, checksum, subkey, data)
        if kind == _PUT  # nearly all are: they are made here, without a call
        else _other(op_id, kind, object_type, object_id, checksum, subkey)
        for op_id, kind, object_type, object_id, checksum, subkey, data, _ in rows
    ]


def _other(
    op_id: int, kind: int, object_type: str | None, object_id: str | None, checksum: int, subkey: str | None
) -> _Put | _Tombstone:
    if kind == _REMOVE:
        return _Put(str(op_id), "REMOVE", object_type, object_id, checksum, subkey, None)
    return _Tombstone(
        str(op_id), "CLEAR" if kind == _CLEAR else "MOVE", to_signed32(checksum) if kind == _CLEAR else checksum
    )


def _nested(entry: _Put | _Tombstone) -> _Put | _Tombstone:
    if isinstance(entry, _Put) and isinstance(entry.data, str):
        entry.data = msgspec.Raw(entry.data)
    return entry


def _bson_entries(rows: Sequence[StoredOp]) -> list[dict[str, Any]]:
    return [
        {
            "op_id": str(op_id),
            "op": "PUT",
            "object_type": object_type,
            "object_id": object_id,
            "checksum": checksum if checksum <= _INT32_MAX else float(checksum),
            "subkey": subkey,
            "data": data,
        }
        if kind == _PUT
        else _other_bson(_other(op_id, kind, object_type, object_id, checksum, subkey))
        for op_id, kind, object_type, object_id, checksum, subkey, data, _ in rows
    ]


def _other_bson(entry: _Put | _Tombstone) -> dict[str, Any]:
    return {**msgspec.structs.asdict(entry), "checksum": bson_number(entry.checksum)}
