"""How operations and current rows stand in their tables."""

from __future__ import annotations

from typing import Any

import msgspec

from syncline.protocol.ops import OpType
from syncline.storage.model import OP_CODES, CurrentRow, Membership, OpRow, StoredOp

__all__ = ["KIND_MASK", "OP_COLUMNS", "decode_row", "encode_row", "escaped", "op_from_row", "unescaped"]

_KINDS: dict[int, OpType] = {number: op for op, number in OP_CODES.items()}
_ESCAPED = 16  # added to the kind where type and id are JSON texts
KIND_MASK = _ESCAPED - 1  # the kind alone

OP_COLUMNS = "op_id, kind, object_type, object_id, checksum, subkey, data, target_op"
_json = msgspec.json.Encoder().encode
_unjson = msgspec.json.Decoder(str).decode
_pack = msgspec.msgpack.Encoder().encode
# Values stay untyped: a union of text and blob has no type in msgspec.
_unpack = msgspec.msgpack.Decoder(tuple[tuple[Membership, ...], tuple[tuple[str, str], ...], Any]).decode


def encode_row(row: CurrentRow) -> bytes:
    """Content of a current row; equal rows have equal contents."""
    return _pack((row.memberships, row.lookups, row.values))


def decode_row(content: bytes) -> CurrentRow:
    """The current row of a content."""
    memberships, lookups, values = _unpack(content)
    return CurrentRow(memberships, lookups, None if values is None else tuple(values))


def escaped(kind: int, object_type: str, object_id: str) -> tuple[int, str, str]:
    """Kind, type and id where one of the texts holds NUL, which no Postgres text can: as JSON."""
    return kind + _ESCAPED, _json(object_type).decode(), _json(object_id).decode()


def unescaped(row: tuple[Any, ...]) -> StoredOp:
    """The operation of `OP_COLUMNS`, its type and id as they were."""
    op_id, kind, object_type, object_id, checksum, subkey, data, target_op = row
    if kind & _ESCAPED:
        kind, object_type, object_id = kind - _ESCAPED, _unjson(object_type), _unjson(object_id)
    return op_id, kind, object_type, object_id, checksum, subkey, data, target_op


def op_from_row(row: tuple[Any, ...]) -> OpRow:
    """An operation from its `OP_COLUMNS`."""
    op_id, kind, object_type, object_id, checksum, subkey, data, target_op = unescaped(row)
    return OpRow(op_id, _KINDS[kind], object_type, object_id, checksum, subkey, data, target_op)
