from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.api.compression import (
    STORED_BYTES_MAX,
    CompressorCount,
    GzipEncoder,
    IdentityEncoder,
    ZstdEncoder,
    body_encoder,
)
from syncline.api.negotiation import ContentCoding

if sys.version_info >= (3, 14):
    from compression import zstd  # pyright: ignore  # from Python 3.14 on
else:
    from backports import zstd

PARTS = st.lists(
    st.tuples(st.one_of(st.binary(min_size=1, max_size=200), st.just(b'{"n":1}\n' * 9000)), st.booleans()), max_size=8
)


def gzip_decoder() -> Callable[[bytes], bytes]:
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress


def zstd_decoder() -> Callable[[bytes], bytes]:
    return zstd.ZstdDecompressor().decompress


@pytest.mark.parametrize(
    ("coding", "decoder"), [(ContentCoding.GZIP, gzip_decoder), (ContentCoding.ZSTD, zstd_decoder)]
)
@given(parts=PARTS)
def test_each_part_can_be_read_before_the_next_exists(
    coding: ContentCoding, decoder: Callable[[], Callable[[bytes], bytes]], parts: list[tuple[bytes, bool]]
) -> None:
    encoder, decode = body_encoder(coding, CompressorCount(resting_max=0)), decoder()
    for part, rests in parts:
        assert decode(encoder.encode(part)) == part
        if rests:
            encoder.rest()


@given(parts=PARTS)
def test_a_finished_gzip_body_is_one_whole_member_whenever_its_stream_rested(parts: list[tuple[bytes, bool]]) -> None:
    encoder = GzipEncoder()
    body = b""
    for part, rests in parts:
        body += encoder.encode(part)
        if rests:
            encoder.rest()
    body += encoder.finish()
    text = b"".join(part for part, _ in parts)
    if not parts:
        assert body == b""
        return
    assert gzip.decompress(body) == text
    decoder = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert decoder.decompress(body) == text
    assert decoder.eof, "checksum and size are right"
    assert decoder.unused_data == b"", "one member: not every client reads a second one"


@given(parts=PARTS, resting_max=st.sampled_from([0, 1]))
def test_a_finished_zstd_body_is_one_frame_whenever_its_stream_rested(
    parts: list[tuple[bytes, bool]], resting_max: int
) -> None:
    encoder = ZstdEncoder(CompressorCount(resting_max))
    body = b""
    for part, rests in parts:
        body += encoder.encode(part)
        if rests:
            encoder.rest()
    body += encoder.finish()
    if not parts:
        assert body == b""
        return
    decoder = zstd.ZstdDecompressor()
    assert decoder.decompress(body) == b"".join(part for part, _ in parts)
    assert decoder.eof
    assert decoder.unused_data == b"", "one frame: not every client reads a second one"


def test_above_the_limit_resting_zstd_streams_give_their_compressors_back() -> None:
    count = CompressorCount(resting_max=3)
    encoders = [ZstdEncoder(count) for _ in range(10)]
    for encoder in encoders:
        encoder.encode(b"a line\n" * 100)
    assert count.live == 10, "those that send keep theirs"
    for encoder in encoders:
        encoder.rest()
    assert count.live == 3
    for encoder in encoders:
        encoder.close()
        encoder.close()
    assert count.live == 0


def test_a_body_without_parts_is_empty() -> None:
    assert ZstdEncoder(CompressorCount()).finish() == b""
    assert GzipEncoder().finish() == b""
    assert IdentityEncoder().finish() == b""


def test_a_resting_gzip_stream_holds_no_compressor_and_makes_none_for_a_keepalive() -> None:
    encoder = GzipEncoder()
    encoder.encode(b"x" * 1000)
    assert encoder._compressor is not None
    encoder.rest()
    assert encoder._compressor is None
    encoder.encode(b"y" * STORED_BYTES_MAX)
    assert encoder._compressor is None
    encoder.encode(b"z" * (STORED_BYTES_MAX + 1))
    assert encoder._compressor is not None


def test_repeated_lines_become_small() -> None:
    line = b'{"op_id":"1","op":"PUT","object_type":"lists","object_id":"a"}' * 100
    for encoder in (GzipEncoder(), ZstdEncoder(CompressorCount())):
        assert len(encoder.encode(line)) < len(line) / 10
