"""Functions of texts and blobs (sync config reference, 5). Positions and lengths of texts count UTF-16 units."""

from __future__ import annotations

import base64 as base64_codec
import re

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.values import EvaluationError, as_integer, as_text

__all__ = ["base64", "hex_text", "instr", "length", "lower", "substring", "upper", "uuid_blob"]


def upper(value: SyncValue) -> SyncValue:
    """`upper(x)` by the full Unicode mapping."""
    text = as_text(value)
    return None if text is None else text.upper()


def lower(value: SyncValue) -> SyncValue:
    """`lower(x)` by the full Unicode mapping."""
    text = as_text(value)
    return None if text is None else text.lower()


def _bytes_of(value: SyncValue) -> bytes:
    return value if isinstance(value, bytes) else (as_text(value) or "").encode("utf-8", errors="replace")


def hex_text(value: SyncValue) -> SyncValue:
    """`hex(x)` of the bytes of a blob or of a text; the empty text for NULL."""
    return _bytes_of(value).hex().upper()


def base64(value: SyncValue) -> SyncValue:
    """`base64(x)` with padding; the empty text for NULL."""
    return base64_codec.b64encode(_bytes_of(value)).decode()


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-le", errors="surrogatepass")


def length(value: SyncValue) -> SyncValue:
    """`length(x)`: UTF-16 units of the text, bytes of a blob."""
    if value is None or isinstance(value, bytes):
        return None if value is None else len(value)
    return len(_utf16(as_text(value) or "")) // 2


def instr(haystack: SyncValue, needle: SyncValue) -> SyncValue:
    """`instr(a, b)`: where b first stands in a, from 1; 0 where it does not. By bytes where both are blobs."""
    if haystack is None or needle is None:
        return None
    if isinstance(haystack, bytes) and isinstance(needle, bytes):
        return haystack.find(needle) + 1
    text, part = as_text(haystack) or "", as_text(needle) or ""
    found = text.find(part)
    return 0 if found < 0 else len(_utf16(text[:found])) // 2 + 1


def substring(value: SyncValue, start: SyncValue, *length: SyncValue) -> SyncValue:
    """SQLite's substr of a text; a start before the text is clamped before the length counts (reference, 5)."""
    text, first = as_text(value), as_integer(start)
    count = as_integer(length[0]) if length else 0
    if text is None or first is None or count is None:
        return None
    units = _utf16(text)
    begin, end = _slice_of(first, count if length else None, len(units) // 2)
    return units[begin * 2 : end * 2].decode("utf-16-le", errors="replace")


def _slice_of(first: int, count: int | None, total: int) -> tuple[int, int]:
    if first > 0:
        begin = first - 1
    elif first == 0:
        begin = 0
        if count is not None and count > 0:
            count -= 1
    else:
        begin = max(total + first, 0)
    if count is None:
        return min(begin, total), total
    if count < 0:
        return max(begin + count, 0), min(begin, total)
    return min(begin, total), min(begin + count, total)


_UUID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    r"|00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff",
    re.IGNORECASE | re.ASCII,
)
"""RFC 9562: versions 1 to 8 of its variant, and the nil and max UUIDs."""


def uuid_blob(value: SyncValue) -> SyncValue:
    """`uuid_blob(x)`: the 16 bytes of a UUID. Raises EvaluationError for any other text."""
    text = as_text(value)
    if text is None:
        return None
    if _UUID.fullmatch(text) is None:
        raise EvaluationError("uuid_blob: the text is not a UUID")
    return bytes.fromhex(text.replace("-", ""))
