from __future__ import annotations

import json

import pytest

from syncline.client.errors import AuthFailed, ServiceError
from syncline.client.transport.answers import (
    ERROR_TEXT_CHARACTERS_MAX,
    RETRY_AFTER_S_MAX,
    http_error,
    no_stream,
    read_number,
)
from syncline.errors import RemoteProtocolError

ENDPOINT = "https://sync.example.com"


def error(status: int, body: object = b"", *, content_type: str = "", retry_after: str | None = None) -> ServiceError:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http_error(
        status=status,
        body=text,
        endpoint=ENDPOINT,
        path="/sync/stream",
        content_type=content_type,
        retry_after=retry_after,
    )


def test_an_error_of_the_service_keeps_its_code_and_words() -> None:
    found = error(500, {"error": {"code": "PSYNC_S2302", "status": 500, "description": "No sync config available"}})
    assert type(found) is ServiceError
    assert (found.error_code, found.status_code) == ("PSYNC_S2302", 500)
    assert "No sync config available" in found.message


def test_a_refused_token_is_an_error_of_its_own() -> None:
    found = error(401, {"error": {"code": "PSYNC_S2103", "description": "JWT has expired"}})
    assert isinstance(found, AuthFailed)
    assert "fetched again" in found.hint
    assert isinstance(error(401), AuthFailed)


@pytest.mark.requirement(8)
@pytest.mark.parametrize("status", [404, 405])
def test_the_address_of_the_backend_is_named_as_the_mistake(status: int) -> None:
    found = error(status, b'{"detail": "Not Found"}')
    assert "not of your backend" in found.hint
    assert f"{ENDPOINT}/sync/stream does not exist" in found.hint


@pytest.mark.requirement(47)
@pytest.mark.parametrize("body", [b"<html><h1>502 Bad Gateway</h1>", b"\xff\xfe", b"", b"[]", b'{"error": "text"}'])
def test_pages_of_gateways_are_told_and_not_shown(body: bytes) -> None:
    found = error(502, body, content_type="text/html; charset=utf-8")
    assert found.message == f"{ENDPOINT} answered HTTP 502."
    assert "proxy or gateway" in found.hint


def test_redirects_say_what_to_do() -> None:
    assert "redirects" in error(308).hint


def test_long_words_of_a_peer_are_cut() -> None:
    found = error(500, {"error": {"description": "x" * 10_000}})
    assert len(found.message) < ERROR_TEXT_CHARACTERS_MAX + 100


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), (" 0 ", 0.0), ("999999", RETRY_AFTER_S_MAX), (None, None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)
def test_the_wait_that_a_peer_asks_for_is_read(header: str | None, seconds: float | None) -> None:
    assert error(503, retry_after=header).retry_after_s == seconds


def test_a_web_page_is_no_stream() -> None:
    found = no_stream(endpoint=ENDPOINT, content_type="text/html", wanted="application/x-ndjson")
    assert "text/html" in found.message
    assert "login page" in found.hint


@pytest.mark.parametrize("number", ["12", 12])
def test_numbers_are_read_as_text_or_not(number: str | int) -> None:
    assert read_number(json.dumps({"data": {"write_checkpoint": number}}).encode(), "write_checkpoint") == 12


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"data": {}}', b'{"data": {"write_checkpoint": "x"}}', b"\xff"])
def test_an_answer_without_the_number_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="no write_checkpoint"):
        read_number(body, "write_checkpoint")
