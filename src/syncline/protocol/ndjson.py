"""Newline-delimited JSON framing: bytes in, whole lines out."""

from __future__ import annotations

from syncline.errors import RemoteProtocolError

__all__ = ["LINE_BYTES_MAX", "LineSplitter"]

LINE_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of one line. A chunk is about 1 MiB and a row at most 15 MiB, which JSON escaping can double."""


class LineSplitter:
    """Cuts a byte stream into lines without their newline; blank lines are dropped.

    >>> splitter = LineSplitter()
    >>> splitter.feed(b'{"a":1}\\n{"b"')
    [b'{"a":1}']
    >>> splitter.feed(b':2}\\n')
    [b'{"b":2}']
    """

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._line_bytes_max = line_bytes_max
        self._pending: list[bytes] = []
        self._pending_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the lines that they end. Raises RemoteProtocolError over `line_bytes_max`."""
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        self._pending.append(chunk)
        lines = b"".join(self._pending).split(b"\n")
        self._pending, self._pending_bytes = [], 0
        self._keep(lines.pop())
        if any(len(line) > self._line_bytes_max for line in lines):
            raise self._too_long()
        return [line for line in lines if line.strip()]

    def finish(self) -> list[bytes]:
        """End of the stream: the last line where it has no newline."""
        rest = b"".join(self._pending)
        self._pending, self._pending_bytes = [], 0
        return [rest] if rest.strip() else []

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._pending.append(rest)
            self._pending_bytes += len(rest)
        if self._pending_bytes > self._line_bytes_max:
            raise self._too_long()

    def _too_long(self) -> RemoteProtocolError:
        return RemoteProtocolError(f"A line is longer than {self._line_bytes_max} bytes.")
