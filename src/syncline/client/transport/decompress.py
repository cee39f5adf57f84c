"""Compressed bodies of streams, decoded as they arrive and in slices of a bounded size.

A few compressed bytes can stand for gigabytes. Nothing here holds more than one slice of them; what is a line too long is refused by the
splitter behind, and between slices the event loop has its turn.
"""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Iterator
from typing import Any, Protocol

from syncline.errors import RemoteProtocolError

__all__ = ["SLICE_BYTES_MAX", "ZSTD_WINDOW_LOG_MAX", "BodyDecoder", "accepted_encodings", "body_decoder"]

SLICE_BYTES_MAX = 256 * 1024  # decoded bytes at a time: about a millisecond of work for decoder and splitter
ZSTD_WINDOW_LOG_MAX = (
    23  # 8 MiB: what a zstd decoder may be made to hold; RFC 8878 has it that decoders support this much
)
_GZIP_BITS = 31  # zlib's way to say: gzip, with the largest window


class BodyDecoder(Protocol):
    """Decodes one body, chunk by chunk."""

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        """What the chunk stands for, in slices of at most SLICE_BYTES_MAX. Raises RemoteProtocolError for broken data."""
        ...


class _Identity:
    def decode(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk


class _Gzip:
    """Members of gzip, one behind the other."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_BITS)

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        rest = chunk
        while True:
            if self._inflate.eof:
                if not rest:
                    return
                self._inflate = zlib.decompressobj(_GZIP_BITS)
            try:
                part = self._inflate.decompress(rest, SLICE_BYTES_MAX)
            except zlib.error as exc:
                raise RemoteProtocolError(f"The stream's gzip is broken: {exc}") from exc
            rest = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            if part:
                yield part
            if not rest and len(part) < SLICE_BYTES_MAX:
                return


class _Zstd:
    """Frames of zstd, one behind the other."""

    def __init__(self, zstd: Any) -> None:
        self._zstd = zstd
        self._decoder = self._new()

    def _new(self) -> Any:
        return self._zstd.ZstdDecompressor(
            options={self._zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
        )

    def decode(self, chunk: bytes) -> Iterator[bytes]:
        rest = chunk
        while True:
            if self._decoder.eof:
                if not rest:
                    return
                self._decoder = self._new()
            try:
                part = self._decoder.decompress(rest, SLICE_BYTES_MAX)
            except self._zstd.ZstdError as exc:
                raise RemoteProtocolError(f"The stream's zstd is broken: {exc}") from exc
            rest = self._decoder.unused_data if self._decoder.eof else b""  # the decoder keeps what it has not used
            if part:
                yield part
            if not rest and (self._decoder.eof or self._decoder.needs_input):
                return


def accepted_encodings() -> str:
    """The value of Accept-Encoding: zstd where Python has a decoder for it (3.14, or the package `backports.zstd`), and gzip."""
    return "gzip" if _zstd_module() is None else "zstd, gzip"


def body_decoder(encoding: str) -> BodyDecoder:
    """The decoder for a Content-Encoding, empty for none. Raises RemoteProtocolError for one that was not asked for."""
    match encoding.strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip":
            return _Gzip()
        case "zstd" if (zstd := _zstd_module()) is not None:
            return _Zstd(zstd)
        case other:
            raise RemoteProtocolError(f"The stream is encoded as {other!r}, which was not asked for.")


def _zstd_module() -> Any | None:
    """The module that decodes zstd. Imported when a stream is opened: not every installation has it."""
    try:
        return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError:
        return None
