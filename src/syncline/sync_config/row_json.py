"""Row JSON: the exact text that is stored, hashed and sent (protocol reference, section 9).

Columns in order, no blanks, integers exact, integral reals with `.0`, NaN and infinities as null, blobs left out.
"""

from __future__ import annotations

import msgspec

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.json_values import json_text, quote
from syncline.sync_config.evaluation.values import as_text

__all__ = ["NOT_ENCODABLE", "PLAIN_TYPES", "encode", "object_id_text", "row_json"]

encode = msgspec.json.Encoder().encode
"""JSON of values that all are of `PLAIN_TYPES`: the row JSON already, unless one of them is `NOT_ENCODABLE`."""

PLAIN_TYPES = frozenset({str, int, type(None)})
NOT_ENCODABLE = (UnicodeEncodeError, OverflowError)
"""What `encode` raises for a lone surrogate, and for more digits than it writes."""


def row_json(columns: dict[str, SyncValue]) -> str:
    """JSON text of an output row."""
    if PLAIN_TYPES.issuperset(map(type, columns.values())):
        try:
            return encode(columns).decode()
        except NOT_ENCODABLE:
            pass
    pairs = [f"{quote(name)}:{json_text(value)}" for name, value in columns.items() if not isinstance(value, bytes)]
    return f"{{{','.join(pairs)}}}"


def object_id_text(value: SyncValue) -> str:
    """The object id of an output `id`: its text; empty where it is missing, NULL or a blob."""
    if isinstance(value, bytes):
        return ""
    return value if type(value) is str else as_text(value) or ""
