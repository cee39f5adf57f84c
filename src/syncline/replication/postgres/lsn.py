"""Log sequence numbers as texts that compare in the log's order: `XXXXXXXX/XXXXXXXX`, zero padded."""

from __future__ import annotations

__all__ = ["lsn_number", "lsn_text", "pad_lsn"]


def lsn_text(number: int) -> str:
    """The padded text of a 64-bit position."""
    return f"{number >> 32:08X}/{number & 0xFFFFFFFF:08X}"


def lsn_number(text: str) -> int:
    """The 64-bit position of a text, padded or as Postgres prints it."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def pad_lsn(text: str) -> str:
    """Postgres' own form, padded."""
    return lsn_text(lsn_number(text))
