from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.errors import RemoteProtocolError, RequestInvalid
from syncline.protocol.bucket_names import bucket_name, canonical_json, version_of
from syncline.protocol.crud import CrudOperation, CrudTransaction, UpdateType, content_hash, decode_crud_batch
from syncline.protocol.lines import Checkpoint, TokenExpiresIn, decode_line, encode_line
from syncline.protocol.ndjson import LineSplitter
from syncline.protocol.requests import SUBSCRIPTIONS_MAX, decode_stream_request


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line and line.strip()), max_size=8), st.data())
def test_lines_come_out_whole_however_the_bytes_are_cut(lines: list[bytes], data: st.DataObject) -> None:
    rest = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter()
    out: list[bytes] = []
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        out += splitter.feed(rest[:size])
        rest = rest[size:]
    assert out + splitter.finish() == lines


def test_a_line_without_end_is_refused_at_the_limit() -> None:
    splitter = LineSplitter(line_bytes_max=10)
    splitter.feed(b"12345")
    with pytest.raises(RemoteProtocolError, match="10 bytes"):
        splitter.feed(b"123456")


def test_bucket_names_are_canonical() -> None:
    assert bucket_name("3#", "todos|0", ["u1"]) == '3#todos|0["u1"]'
    assert (
        canonical_json([1, 1.0, -0.0, 1e21, 1e-7, 0.5, None, "é漢", 2**62])
        == f'[1,1,0,1e+21,1e-7,0.5,null,"é漢",{2**62}]'
    )
    assert version_of("17#a[]") == 17
    assert version_of("a[]") is None
    with pytest.raises(TypeError):
        canonical_json([b"blob"])


def test_a_stream_request_may_be_empty_or_an_array() -> None:
    for body in (b"", b"  ", b"{}", b"[]"):
        request = decode_stream_request(body)
        assert request.buckets == []
        assert not request.raw_data


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"buckets": "x"}', "buckets"),
        (b'{"buckets": [{"name": "a", "after": "-1"}]}', "buckets[0].after"),
        (b'{"streams": {"subscriptions": [{"x": 1}]}}', "subscriptions"),
        (b'{"streams": {"subscriptions": [{"stream": "a", "override_priority": 4}]}}', "override_priority"),
        (b'{"raw_data": 1}', "raw_data"),
        (b"{", ""),
        (b"[" * 100_000, ""),
    ],
)
def test_a_wrong_request_says_which_field_is_wrong(body: bytes, where: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        decode_stream_request(body)
    assert where in "".join(caught.value.problems)
    assert caught.value.status == 400


def test_too_many_subscriptions_are_refused() -> None:
    entries = ",".join(
        '{"stream":"a","parameters":null,"override_priority":null}' for _ in range(SUBSCRIPTIONS_MAX + 1)
    )
    with pytest.raises(RequestInvalid, match="1000"):
        decode_stream_request(f'{{"streams":{{"subscriptions":[{entries}]}}}}'.encode())


def test_lines_survive_encoding_and_unknown_kinds_are_ignored() -> None:
    checkpoint = Checkpoint("5", [], "1")
    assert decode_line(encode_line(checkpoint)) == checkpoint
    assert encode_line(TokenExpiresIn(0)) == b'{"token_expires_in":0}\n'
    assert decode_line(b'{"token_expires_in":0}') == TokenExpiresIn(0)
    assert decode_line(b'{"something_new":{}}') is None


@pytest.mark.parametrize(
    "line", [b"{", b'{"data":{"bucket":"a","data":[{"op":"PUSH"}]}}', b'{"checkpoint_diff":{"last_op_id":"1"}}']
)
def test_a_broken_line_is_a_protocol_error(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_line(line)


def test_two_kinds_in_one_line_are_a_protocol_error() -> None:
    with pytest.raises(RemoteProtocolError, match="more than one"):
        decode_line(b'{"checkpoint_complete":{"last_op_id":"1"},"token_expires_in":3}')


def test_the_content_hash_does_not_depend_on_the_order_of_keys() -> None:
    def transaction(data: dict[str, object]) -> CrudTransaction:
        return CrudTransaction([CrudOperation(op=UpdateType.PUT, table="t", id="1", op_data=data)])

    assert content_hash(transaction({"a": 1, "b": 2})) == content_hash(transaction({"b": 2, "a": 1}))
    assert content_hash(transaction({"a": 1})) != content_hash(transaction({"a": 2}))


@pytest.mark.parametrize(
    "body", [b"{}", b'{"transactions":[]}', b'{"transactions":[{"crud":[]}]}', b'{"transactions":1}']
)
def test_a_malformed_upload_is_refused(body: bytes) -> None:
    with pytest.raises(RequestInvalid):
        decode_crud_batch(body)
