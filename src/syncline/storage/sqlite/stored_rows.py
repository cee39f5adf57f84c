"""Rows of the tables as writer and reader both read them."""

from __future__ import annotations

from typing import Any

import msgspec

from syncline.protocol.ops import OpType
from syncline.storage.model import OP_CODES, CurrentRow, Membership, OpRow, Version, VersionState

__all__ = [
    "OP_COLUMNS",
    "VERSION_COLUMNS",
    "current_row_columns",
    "current_row_from_row",
    "op_from_row",
    "version_from_row",
]

VERSION_COLUMNS = "number, state, sync_config, slot_name, source_identity, snapshot_done, consistent_from, last_error"
OP_COLUMNS = "op_id, kind, object_type, object_id, checksum, subkey, data, target_op"

_OPS: dict[int, OpType] = {number: op for op, number in OP_CODES.items()}
_encode = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_memberships_decoder = msgspec.json.Decoder(list[Membership])
_lookups_decoder = msgspec.json.Decoder(tuple[tuple[str, str], ...])
_values_decoder = msgspec.msgpack.Decoder()  # untyped: a union of text and blob has no type here


def version_from_row(row: tuple[Any, ...]) -> Version:
    """A version from its `VERSION_COLUMNS`."""
    return Version(
        number=row[0],
        state=VersionState(row[1]),
        sync_config=row[2],
        slot_name=row[3],
        source_identity=row[4],
        snapshot_done=bool(row[5]),
        consistent_from=row[6],
        last_error=row[7],
    )


def op_from_row(row: tuple[Any, ...]) -> OpRow:
    """An operation from its `OP_COLUMNS`."""
    return OpRow(row[0], _OPS[row[1]], row[2], row[3], row[4], row[5], row[6], row[7])


def current_row_from_row(memberships: str, lookups: str, values: bytes | None) -> CurrentRow:
    """A remembered row from its columns `memberships`, `lookups` and `row_values`."""
    return CurrentRow(
        tuple(_memberships_decoder.decode(memberships)),
        _lookups_decoder.decode(lookups),
        tuple(_values_decoder.decode(values)) if values is not None else None,
    )


def current_row_columns(row: CurrentRow) -> tuple[str, str, bytes | None]:
    """The reverse of `current_row_from_row`."""
    return (
        _json(row.memberships).decode(),
        _json(row.lookups).decode() if row.lookups else "[]",
        _encode(row.values) if row.values is not None else None,
    )
