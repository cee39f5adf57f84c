"""PURE: operations as NDJSON data lines. Row data is never parsed: it is the text that was stored and hashed."""

from __future__ import annotations

import orjson

from syncline.protocol.ops import OpType, to_signed32
from syncline.storage.model import OpChunk, OpRow

__all__ = ["encode_chunk"]


def encode_chunk(chunk: OpChunk, *, raw_data: bool) -> bytes:
    """One data line, newline included. `raw_data` puts the row data in as a string, else it is a nested object."""
    encode = _raw_entry if raw_data else _nested_entry
    line = {
        "data": {
            "bucket": chunk.bucket,
            "after": str(chunk.after),
            "has_more": chunk.has_more,
            "data": [encode(op) for op in chunk.ops],
            "next_after": str(chunk.next_after),
        }
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _raw_entry(op: OpRow) -> dict[str, object]:
    if op.op is OpType.MOVE or op.op is OpType.CLEAR:
        checksum = to_signed32(op.checksum) if op.op is OpType.CLEAR else op.checksum
        return {"op_id": str(op.op_id), "op": op.op, "checksum": checksum}
    return {
        "op_id": str(op.op_id),
        "op": op.op,
        "object_type": op.object_type,
        "object_id": op.object_id,
        "checksum": op.checksum,
        "subkey": op.subkey,
        "data": op.data,
    }


def _nested_entry(op: OpRow) -> dict[str, object]:
    entry = _raw_entry(op)
    if op.data is not None and "data" in entry:
        entry["data"] = orjson.Fragment(op.data)
    return entry
