"""An encoder of pgoutput messages for tests, written from the Postgres manual, 54.9."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from syncline.replication.source import UNCHANGED, Unchanged

__all__ = ["encode_begin", "encode_commit", "encode_logical", "encode_relation", "encode_row", "encode_truncate"]

POSTGRES_EPOCH_MS = 946_684_800_000

Field = str | None | Unchanged


def encode_begin(final_lsn: int, commit_time_ms: int, xid: int = 7) -> bytes:
    return b"B" + struct.pack(">QqI", final_lsn, (commit_time_ms - POSTGRES_EPOCH_MS) * 1000, xid)


def encode_commit(end_lsn: int, commit_time_ms: int) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, end_lsn - 1, end_lsn, (commit_time_ms - POSTGRES_EPOCH_MS) * 1000)


def encode_relation(
    relation_id: int, schema: str, name: str, identity: str, columns: Sequence[tuple[str, int, bool]]
) -> bytes:
    data = b"R" + struct.pack(">I", relation_id) + _text(schema) + _text(name) + identity.encode()
    data += struct.pack(">H", len(columns))
    for column, type_id, in_key in columns:
        data += bytes([in_key]) + _text(column) + struct.pack(">Ii", type_id, -1)
    return data


def encode_row(
    kind: str,
    relation_id: int,
    *,
    new: Sequence[Field] | None = None,
    old: Sequence[Field] | None = None,
    old_kind: str = "K",
) -> bytes:
    data = kind.encode() + struct.pack(">I", relation_id)
    if old is not None:
        data += old_kind.encode() + encode_tuple(old)
    if new is not None:
        data += b"N" + encode_tuple(new)
    return data


def encode_tuple(fields: Sequence[Field]) -> bytes:
    data = struct.pack(">H", len(fields))
    for field in fields:
        if field is None:
            data += b"n"
        elif isinstance(field, Unchanged):
            assert field is UNCHANGED
            data += b"u"
        else:
            data += b"t" + struct.pack(">I", len(field.encode())) + field.encode()
    return data


def encode_truncate(relation_ids: Sequence[int]) -> bytes:
    return b"T" + struct.pack(f">IB{len(relation_ids)}I", len(relation_ids), 0, *relation_ids)


def encode_logical(prefix: str, content: bytes, *, lsn: int, transactional: bool) -> bytes:
    return b"M" + struct.pack(">BQ", transactional, lsn) + _text(prefix) + struct.pack(">I", len(content)) + content


def _text(text: str) -> bytes:
    return text.encode() + b"\0"
