"""Ids for new rows: text UUIDs, made on the device (SQL has `uuid()` for the same)."""

from __future__ import annotations

import os
import time
from uuid import UUID, uuid4

__all__ = ["new_id", "new_time_ordered_id"]


def new_id() -> str:
    """A random UUID (version 4). Ids say nothing about when or where a row was made.

    >>> len(new_id())
    36
    """
    return str(uuid4())


def new_time_ordered_id() -> str:
    """A UUID that begins with the time in milliseconds (version 7, RFC 9562): rows made later have greater ids, which keeps indexes small.

    The ids of one millisecond are in no order.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | (7 << 76)
    value = value & ~(0b11 << 62) | (0b10 << 62)
    return str(UUID(int=value))
