"""Limits of the HTTP face, each with its unit and reason."""

from __future__ import annotations

__all__ = ["BODY_BYTES_MAX", "CHECKPOINT_BATCH_MAX", "SEND_TIMEOUT_S"]

BODY_BYTES_MAX = 4 * 1024 * 1024  # bytes of a request body: 1,000 bucket positions with long names, and room
SEND_TIMEOUT_S = 60.0  # seconds that one write to a client may take; a client that reads nothing for so long is cut
CHECKPOINT_BATCH_MAX = 1000  # write checkpoint requests that share one look at the source's head
