from __future__ import annotations

import zlib

import pytest

from bench.socket_streams import _Body  # pyright: ignore[reportPrivateUsage]  # there is no other way to it

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
TEXT = b"".join(b"line %d\n" % number for number in range(100))


def chunked(text: bytes, size: int) -> bytes:
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def read(answer: bytes, step: int) -> bytes:
    body, found = _Body(), b""
    for start in range(0, len(answer), step):
        text = body.feed(answer[start : start + step])
        found += text[len(text) - body.new_bytes :]
    return found


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 10_000])
def test_a_body_is_read_whole_however_it_is_cut(step: int) -> None:
    assert read(HEAD + b"\r\n" + chunked(TEXT, 13), step) == TEXT
    packed = zlib.compressobj(wbits=31)
    text = packed.compress(TEXT) + packed.flush()
    assert read(HEAD + b"Content-Encoding: gzip\r\n\r\n" + chunked(text, 13), step) == TEXT


def test_an_answer_that_is_no_stream_is_told() -> None:
    with pytest.raises(ConnectionError, match="429"):
        _Body().feed(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")
