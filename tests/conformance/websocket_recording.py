"""Reading a recorded WebSocket connection: TCP segments both ways -> the head of the upgrade, and the messages of each side."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Recording", "read_recording"]

_BINARY, _CLOSE = 2, 8
_WINDOW_BITS = 12  # as negotiated in the recording


@dataclass(frozen=True, slots=True)
class Recording:
    """One connection. Messages are whole and inflated, in the order in which their side sent them."""

    response_head: str
    from_client: list[bytes]
    from_server: list[bytes]


def read_recording(path: Path, *, connection: int = 1) -> Recording:
    """The connection of this number. Both sides sent each message in one frame, and only the server compressed."""
    segments = [json.loads(line) for line in path.read_text().splitlines()]
    streams = {
        direction: b"".join(
            base64.b64decode(s["b64"]) for s in segments if s["conn"] == connection and s["dir"] == direction
        )
        for direction in ("c2s", "s2c")
    }
    _, _, client = streams["c2s"].partition(b"\r\n\r\n")
    head, _, server = streams["s2c"].partition(b"\r\n\r\n")
    return Recording(head.decode(), list(_messages(client)), list(_messages(server)))


def _messages(data: bytes) -> Iterator[bytes]:
    """Payloads of binary messages (RFC 6455, 5.2; RFC 7692, 7.2.2)."""
    inflate = zlib.decompressobj(-_WINDOW_BITS)
    while data:
        kind, masked, size, start = data[0] & 0x0F, data[1] & 0x80, data[1] & 0x7F, 2
        assert data[0] & 0x80, "each message is one frame"
        if size >= 126:
            width = 2 if size == 126 else 8
            size, start = int.from_bytes(data[2 : 2 + width], "big"), 2 + width
        mask = data[start : start + 4] if masked else b""
        start += len(mask)
        payload = data[start : start + size]
        if mask:
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        if data[0] & 0x40:
            payload = inflate.decompress(payload + b"\x00\x00\xff\xff")
        if kind == _BINARY:
            yield payload
        else:
            assert kind == _CLOSE, "nothing else was recorded"
        data = data[start + size :]
