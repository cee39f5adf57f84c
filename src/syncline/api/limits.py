"""Limits of the HTTP face, each with its unit and reason."""

from __future__ import annotations

__all__ = [
    "BODIES_BYTES_MAX",
    "BODY_BYTES_MAX",
    "CHECKPOINT_BATCH_MAX",
    "MESSAGES_IN_A_ROW_MAX",
    "MESSAGE_TIMEOUT_S",
    "SEND_PART_BYTES",
    "SEND_TIMEOUT_S",
    "SETUPS_MAX",
    "SMALL_BODY_BYTES_MAX",
]

BODY_BYTES_MAX = 4 * 1024 * 1024  # bytes of a request body: 1,000 bucket positions with long names, and room
SMALL_BODY_BYTES_MAX = 64 * 1024  # bytes of a body that is always read: what the server's own buffer holds anyway
BODIES_BYTES_MAX = (
    64 * 1024 * 1024
)  # bytes of larger bodies that arrive at the same time: nobody was asked for a token yet
SEND_PART_BYTES = 64 * 1024  # bytes of a body's part before compression: what a slow client makes us hold, twice
SEND_TIMEOUT_S = 60.0  # seconds that a part may wait for room; so a client must read about 1 kB/s, else it is cut
CHECKPOINT_BATCH_MAX = 1000  # write checkpoint requests that share one look at the source's head
SETUPS_MAX = (
    1000  # WebSockets that have not shown a token yet; each may wait for `setup_timeout_s`, and costs about 30 KiB
)
MESSAGE_TIMEOUT_S = 600.0  # seconds that a WebSocket message may wait for room: the largest row at 25 kB/s
MESSAGES_IN_A_ROW_MAX = 100  # messages of one WebSocket that are handled before others get their turn
