"""Operations of a bucket, and their checksums (protocol reference, section 3)."""

from __future__ import annotations

import enum
from hashlib import sha256

__all__ = ["MAX_OP_ID", "OpType", "add_checksums", "put_checksum", "remove_checksum", "to_signed32", "to_unsigned32"]

MAX_OP_ID = 2**63 - 1  # clients keep op ids in a signed 64-bit integer
_MASK = 0xFFFFFFFF


class OpType(enum.StrEnum):
    """What an operation does to its bucket."""

    PUT = "PUT"  # the row is this now
    REMOVE = "REMOVE"  # the row has left the bucket
    MOVE = "MOVE"  # superseded by a later operation; only its checksum is left
    CLEAR = "CLEAR"  # forget everything before; its checksum is the sum of what it replaces


def put_checksum(object_type: str, object_id: str, data: str) -> int:
    """Checksum of a PUT: unsigned 32 bits. `data` is the exact JSON text that clients receive."""
    return int.from_bytes(sha256(f"put.{object_type}.{object_id}.{data}".encode()).digest()[:4], "little")


def remove_checksum(subkey: str) -> int:
    """Checksum of a REMOVE: unsigned 32 bits, from the subkey of the source row alone."""
    return int.from_bytes(sha256(f"delete.{subkey}".encode()).digest()[:4], "little")


def add_checksums(left: int, right: int) -> int:
    """Wrapping 32-bit sum, unsigned."""
    return (left + right) & _MASK


def to_signed32(checksum: int) -> int:
    """The form in which bucket totals and CLEAR operations go over the wire: -2^31 .. 2^31-1."""
    checksum &= _MASK
    return checksum - 0x100000000 if checksum > 0x7FFFFFFF else checksum


def to_unsigned32(checksum: int) -> int:
    """The form in which operations carry a checksum: 0 .. 2^32-1."""
    return checksum & _MASK
