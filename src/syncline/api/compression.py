"""Bodies of streams, compressed so that what was sent can be read at once: each part ends with a flush.

Thousands of streams are open and idle, so what a compressor takes is the price of a stream. A gzip one is given back whenever its stream
rests: deflate blocks of a new compressor may follow those of an old one in the same body, because each flush ends on a byte and a new
compressor refers to nothing before it. A zstd frame does not allow that. So zstd compressors are made small, and only so many are
kept for resting streams; the frames of the others go on with blocks that are not compressed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from struct import pack
from typing import Any, Protocol

import isal.isal_zlib

from syncline.api.negotiation import ContentCoding

if sys.version_info >= (3, 14):
    from compression import zstd  # pyright: ignore  # from Python 3.14 on
else:
    from backports import zstd

_isal: Any = isal.isal_zlib  # its stubs leave the types of buffers open

__all__ = ["BodyEncoder", "CompressorCount", "GzipEncoder", "IdentityEncoder", "ZstdEncoder", "body_encoder"]

ZSTD_WINDOW_LOG = 14  # 16 KiB, which bounds a block too
ZSTD_OPTIONS: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 1,
    zstd.CompressionParameter.window_log: ZSTD_WINDOW_LOG,
    zstd.CompressionParameter.hash_log: 12,
}
ZSTD_RESTING_MAX = 2000  # zstd compressors, of about 70 KiB each, from which on a stream that rests gives its own back
GZIP_LEVEL = 1  # of isal: level 2 and 3 gain next to nothing for twice the memory
STORED_BYTES_MAX = 64  # bytes of a part that goes into a gzip body as it is: a keepalive is not worth a compressor
_GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # no name, no time, unknown system
_DEFLATE_END = b"\x03\0"  # an empty last block


class BodyEncoder(Protocol):
    """Encodes one body, part by part."""

    def encode(self, part: bytes) -> bytes:
        """What to send for this part: all of it can be decoded from what was sent so far."""
        ...

    def rest(self) -> None:
        """Nothing comes for a while: give back what can be made again."""
        ...

    def finish(self) -> bytes:
        """The end of the body."""
        ...

    def close(self) -> None:
        """Nothing comes any more, finished or not."""
        ...


@dataclass(slots=True)
class CompressorCount:
    """How many zstd compressors a process has; those of resting streams are given back above `resting_max`."""

    resting_max: int = ZSTD_RESTING_MAX
    live: int = 0


def body_encoder(coding: ContentCoding, count: CompressorCount) -> BodyEncoder:
    """An encoder for one body; it takes no memory to speak of before its first part."""
    match coding:
        case ContentCoding.ZSTD:
            return ZstdEncoder(count)
        case ContentCoding.GZIP:
            return GzipEncoder()
        case ContentCoding.IDENTITY:
            return IdentityEncoder()


class IdentityEncoder:
    """No compression."""

    __slots__ = ()

    def encode(self, part: bytes) -> bytes:
        """The part itself."""
        return part

    def rest(self) -> None:
        """Nothing to give back."""

    def finish(self) -> bytes:
        """Nothing."""
        return b""

    def close(self) -> None:
        """Nothing to give back."""


class ZstdEncoder:
    """One zstd frame, without size and checksum."""

    __slots__ = ("_compressor", "_count", "_started")

    def __init__(self, count: CompressorCount) -> None:
        self._count = count
        self._started = False
        self._compressor: zstd.ZstdCompressor | None = None

    def encode(self, part: bytes) -> bytes:
        """Whole blocks up to the end of the part."""
        if not self._started:
            self._started = True
            self._count.live += 1
            self._compressor = zstd.ZstdCompressor(options=ZSTD_OPTIONS)
        if self._compressor is None:
            size = 1 << ZSTD_WINDOW_LOG
            return b"".join(_raw_block(part[start : start + size]) for start in range(0, len(part), size))
        return self._compressor.compress(part, mode=zstd.ZstdCompressor.FLUSH_BLOCK)

    def rest(self) -> None:
        """Keep the compressor while there are few: a frame's later blocks rest on what it knows, and no other can take over."""
        if self._count.live > self._count.resting_max:
            self.close()

    def finish(self) -> bytes:
        """The end of the frame."""
        if not self._started:
            return b""
        if self._compressor is None:
            return _raw_block(b"", last=True)
        return self._compressor.flush(mode=zstd.ZstdCompressor.FLUSH_FRAME)

    def close(self) -> None:
        """Give the compressor back."""
        if self._compressor is not None:
            self._compressor = None
            self._count.live -= 1


def _raw_block(part: bytes, *, last: bool = False) -> bytes:
    """A block that is not compressed (RFC 8878, 3.1.1.2): three bytes of size, kind 0 and whether it is the last."""
    return (len(part) << 3 | last).to_bytes(3, "little") + part


class GzipEncoder:
    """One gzip member."""

    __slots__ = ("_checksum", "_compressor", "_size", "_started")

    def __init__(self) -> None:
        self._compressor: Any = None
        self._checksum = 0
        self._size = 0
        self._started = False

    def encode(self, part: bytes) -> bytes:
        """Whole blocks up to the end of the part."""
        head = b"" if self._started else _GZIP_HEAD
        self._started = True
        self._checksum = _isal.crc32(part, self._checksum)
        self._size += len(part)
        if self._compressor is None:
            if len(part) <= STORED_BYTES_MAX:
                return b"%b\0%b%b" % (head, pack("<HH", len(part), len(part) ^ 0xFFFF), part)
            self._compressor = _isal.compressobj(GZIP_LEVEL, _isal.DEFLATED, -15)
        return head + self._compressor.compress(part) + self._compressor.flush(_isal.Z_SYNC_FLUSH)

    def rest(self) -> None:
        """Drop the compressor; the next one begins where this one flushed last."""
        self._compressor = None

    def finish(self) -> bytes:
        """The last block, then checksum and size."""
        if not self._started:
            return b""
        return _DEFLATE_END + pack("<II", self._checksum, self._size & 0xFFFFFFFF)

    def close(self) -> None:
        """Give the compressor back."""
        self._compressor = None
