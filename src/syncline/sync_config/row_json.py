"""Row JSON: the exact text that is stored, hashed and sent (protocol reference, section 9).

Columns in order, no blanks, integers exact, integral reals with `.0`, NaN and infinities as null, blobs left out.
"""

from __future__ import annotations

import msgspec

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.json_values import json_text, quote
from syncline.sync_config.evaluation.values import as_text

__all__ = ["object_id_text", "row_json"]

_encode = msgspec.json.Encoder().encode
_PLAIN = frozenset({str, int, type(None)})  # types whose msgspec text is the row JSON already


def row_json(columns: dict[str, SyncValue]) -> str:
    """JSON text of an output row."""
    if _PLAIN.issuperset(map(type, columns.values())):
        try:
            return _encode(columns).decode()
        except (UnicodeEncodeError, OverflowError):  # a lone surrogate, or more digits than msgspec writes
            pass
    pairs = [f"{quote(name)}:{json_text(value)}" for name, value in columns.items() if not isinstance(value, bytes)]
    return f"{{{','.join(pairs)}}}"


def object_id_text(value: SyncValue) -> str:
    """The object id of an output `id`: its text; empty where it is missing, NULL or a blob."""
    if isinstance(value, bytes):
        return ""
    return value if type(value) is str else as_text(value) or ""
