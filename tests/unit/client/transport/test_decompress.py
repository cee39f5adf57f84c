from __future__ import annotations

import gzip
import sys
import zlib
from typing import Any

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from syncline.client.transport import decompress
from syncline.client.transport.decompress import SLICE_BYTES_MAX, accepted_encodings, body_decoder
from syncline.errors import RemoteProtocolError
from syncline.protocol.ndjson import LineSplitter

BOMB_BYTES = 32 * 1024 * 1024


def parts_of(body: bytes, cuts: list[int]) -> list[bytes]:
    """The body in pieces of these sizes, then the rest."""
    found: list[bytes] = []
    for size in cuts:
        found.append(body[:size])
        body = body[size:]
    return [*found, body]


def flushed(encoding: str, texts: list[bytes]) -> list[bytes]:
    """Each text compressed so that it can be read at once, as the service does it."""
    if encoding == "gzip":
        compressor = zlib.compressobj(wbits=31)
        return [compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH) for text in texts]
    encoder: Any = zstd.ZstdCompressor()
    return [encoder.compress(text, mode=zstd.ZstdCompressor.FLUSH_BLOCK) for text in texts]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@given(texts=st.lists(st.binary(min_size=1, max_size=2000), max_size=5))
def test_each_flushed_part_is_readable_at_once(encoding: str, texts: list[bytes]) -> None:
    decoder = body_decoder(encoding)
    for text, part in zip(texts, flushed(encoding, texts), strict=True):
        assert b"".join(decoder.decode(part)) == text


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress), ("identity", bytes), ("", bytes)]
)
@given(text=st.binary(max_size=5000), cuts=st.lists(st.integers(0, 600), max_size=6), members=st.integers(1, 3))
def test_bodies_come_out_whole_however_the_bytes_are_cut(
    encoding: str, compress: Any, text: bytes, cuts: list[int], members: int
) -> None:
    decoder = body_decoder(encoding)
    chunks = parts_of(compress(text) * members, cuts)
    assert b"".join(part for chunk in chunks for part in decoder.decode(chunk)) == text * members


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstd.compress)])
def test_a_bomb_comes_in_slices_and_ends_at_the_limit_of_a_line(encoding: str, compress: Any) -> None:
    bomb = compress(bytes(BOMB_BYTES))
    assert len(bomb) < BOMB_BYTES / 500
    largest = 0
    splitter = LineSplitter(line_bytes_max=4 * SLICE_BYTES_MAX)

    def read() -> None:
        nonlocal largest
        for part in body_decoder(encoding).decode(bomb):
            largest = max(largest, len(part))
            splitter.feed(part)

    with pytest.raises(RemoteProtocolError, match="longer than"):
        read()
    assert largest == SLICE_BYTES_MAX


def test_a_zstd_window_above_the_limit_is_refused() -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
    }
    encoder: Any = zstd.ZstdCompressor(options=options)
    body = encoder.compress(b"a line\n", mode=zstd.ZstdCompressor.FLUSH_BLOCK)
    with pytest.raises(RemoteProtocolError, match="zstd is broken"):
        list(body_decoder("zstd").decode(body))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_broken_bodies_are_refused(encoding: str) -> None:
    with pytest.raises(RemoteProtocolError, match="is broken"):
        list(body_decoder(encoding).decode(b"no such thing, and long enough to tell"))


def test_what_was_not_asked_for_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="'br', which was not asked for"):
        body_decoder("br")


def test_zstd_is_asked_for_where_it_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accepted_encodings() == "zstd, gzip"
    module = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed
    assert accepted_encodings() == "gzip"
    with pytest.raises(RemoteProtocolError):
        decompress.body_decoder("zstd")
