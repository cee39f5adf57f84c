"""PURE: the forms in which the lines of a sync stream are written (protocol reference, 2.1 and 4)."""

from __future__ import annotations

import enum

__all__ = ["LineFormat"]


class LineFormat(enum.Enum):
    """How the lines of one stream are written. Over HTTP the `Accept` header chooses; over a WebSocket it is always BSON."""

    NDJSON = "ndjson"  # one JSON object a line, each ended by a newline
    BSON = "bson"  # one BSON document a line, without any other framing: a document begins with its own length
