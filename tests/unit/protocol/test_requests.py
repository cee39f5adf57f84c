"""What a client asks for: what is refused, and that nothing that comes over a wire is a bug of ours."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from syncline.errors import ProtocolError, RequestInvalid
from syncline.protocol.crud import decode_crud_batch, decode_upload, decode_upload_response
from syncline.protocol.lines import decode_line
from syncline.protocol.requests import (
    CLIENT_ID_CHARACTERS_MAX,
    OP_ID_DIGITS_MAX,
    PROBLEMS_MAX,
    SUBSCRIPTIONS_MAX,
    decode_stream_request,
)

BROKEN = b'"\xff"'  # no UTF-8
DECODERS: list[tuple[Callable[[bytes], object], bytes]] = [
    (decode_stream_request, b'{"client_id":%s}'),
    (decode_stream_request, b'{"buckets":[{"name":%s}]}'),
    (decode_crud_batch, b'{"transactions":[{"crud":[{"op":%s}]}]}'),
    (decode_upload, b'{"crud":[{"op":%s}]}'),
    (decode_upload_response, b'{"results":[{"error":%s}],"error":%s}'),
    (decode_line, b'{"checkpoint_complete":{"last_op_id":%s}}'),
]


@pytest.mark.parametrize(("decode", "template"), DECODERS)
def test_text_that_is_no_json_is_the_sender_s_mistake(decode: Callable[[bytes], object], template: bytes) -> None:
    for text in (template.replace(b"%s", BROKEN), BROKEN, b"\xff\xfe", b"{", b"\x00", b'{"a"'):
        with pytest.raises(ProtocolError):
            decode(text)


def request(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_limits_of_a_request_are_reached_and_not_passed() -> None:
    subscription = {"stream": "s", "parameters": None, "override_priority": None}
    for allowed, refused in (
        (request(client_id="x" * CLIENT_ID_CHARACTERS_MAX), request(client_id="x" * (CLIENT_ID_CHARACTERS_MAX + 1))),
        (
            request(buckets=[{"name": "b", "after": "9" * OP_ID_DIGITS_MAX}]),
            request(buckets=[{"name": "b", "after": "9" * (OP_ID_DIGITS_MAX + 1)}]),
        ),
        (
            request(streams={"subscriptions": [subscription] * SUBSCRIPTIONS_MAX}),
            request(streams={"subscriptions": [subscription] * (SUBSCRIPTIONS_MAX + 1)}),
        ),
    ):
        decode_stream_request(allowed)
        with pytest.raises(RequestInvalid):
            decode_stream_request(refused)


def test_not_more_problems_are_told_than_anybody_reads() -> None:
    with pytest.raises(RequestInvalid) as caught:
        decode_stream_request(request(buckets=[{"name": "b", "after": "x"}] * 10_000))
    assert len(caught.value.problems) == PROBLEMS_MAX
