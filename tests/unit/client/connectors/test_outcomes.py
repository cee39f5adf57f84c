from __future__ import annotations

from typing import Any

import msgspec
import pytest

from syncline.client.connectors.backend_client import Answer
from syncline.client.connectors.outcomes import (
    NEVER_PERMANENT,
    RequestTooLarge,
    refusal_in_body,
    refusal_of_status,
    require_success,
)
from syncline.client.connectors.upload_policy import UploadPolicy
from syncline.client.errors import ServiceError

URL = "http://backend/api/data"


def answer(status: int, body: Any = None, **headers: str) -> Answer:
    text = body.encode() if isinstance(body, str) else b"" if body is None else msgspec.json.encode(body)
    return Answer(status, text, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.requirement(20)
def test_every_status_is_either_sent_again_or_a_refusal_that_names_itself() -> None:
    for status in range(300, 600):
        found = answer(status, {"message": "words"})
        if 400 <= status < 500 and status not in NEVER_PERMANENT | {413}:
            refusal = require_success(found, URL)
            assert refusal is not None
            assert (refusal.code, refusal.message, refusal.status_code) == (f"HTTP_{status}", "words", status)
            continue
        with pytest.raises(ServiceError, match="words") as raised:
            require_success(found, URL)
        assert raised.value.status_code == status
        assert isinstance(raised.value, RequestTooLarge) == (status == 413)


def test_what_is_never_permanent_is_this() -> None:
    assert {401, 403, 408, 425, 429} <= NEVER_PERMANENT


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_is_any_2xx_with_or_without_a_body(status: int) -> None:
    assert require_success(answer(status), URL) is None
    assert require_success(answer(status, {"ok": True}), URL) is None


@pytest.mark.requirement(47)
@pytest.mark.parametrize(
    "page",
    [
        answer(200, "<!DOCTYPE html><html>", content_type="text/html; charset=utf-8"),
        answer(200, "", content_type="text/html"),
        answer(200, "  \n<HTML>"),
    ],
)
def test_a_page_is_no_success_of_a_backend(page: Answer) -> None:
    with pytest.raises(ServiceError, match="HTML page") as raised:
        require_success(page, URL)
    assert "Nothing was taken off the queue" in raised.value.hint


def test_a_redirect_says_where_to() -> None:
    with pytest.raises(ServiceError, match="redirects to https://login"):
        require_success(answer(302, location="https://login"), URL)


@pytest.mark.requirement(42)
def test_the_wait_that_was_asked_for_is_in_the_error() -> None:
    with pytest.raises(ServiceError) as raised:
        require_success(answer(429, retry_after="17"), URL)
    assert raised.value.retry_after_s == 17


def test_the_backends_own_code_is_kept() -> None:
    found = refusal_of_status(answer(409, {"code": "23505", "message": "dup", "details": "Key (name)"}))
    assert found is not None
    assert (found.code, found.details) == ("23505", "Key (name)")


def test_a_refused_role_is_a_refusal_only_where_the_app_says_so() -> None:
    assert refusal_of_status(answer(403)) is None
    assert refusal_of_status(answer(403), forbidden_is_final=True) is not None
    assert refusal_of_status(answer(401), forbidden_is_final=True) is None


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"success": True}, False),
        ({"success": False, "error": "no"}, True),
        ({"rejected": []}, False),
        ({"rejected": [{"op_id": "crud:1"}]}, True),
        ({"failed": {"1": "x"}}, True),
        ({"errors": ["x"]}, True),
        ({"errors": None, "data": 1}, False),
        ([], False),
        ("plain", False),
        (None, False),
    ],
)
def test_a_success_can_carry_a_refusal(body: Any, refused: bool) -> None:
    assert (refusal_in_body(answer(200, body)) is not None) == refused


@pytest.mark.parametrize(
    "wrong", [{"on_reject": "ignore"}, {"on_forbidden": "drop"}, {"max_attempts": 0}, {"max_attempts": -1}]
)
def test_a_policy_that_does_not_exist_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        UploadPolicy(**wrong)
