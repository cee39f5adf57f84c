"""The write API is what its OpenAPI document says, for requests made up from it; and what the official contract asks of a backend.

The contract: docs/reference/write-path.md, 2.1 and 2.3. No database: the verdicts come from a persister that does as it is told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from syncline.backend import AuthenticatedUser, TablePolicy
from syncline.backend.asgi import SyncApp
from syncline.backend.changes import ChangesPage
from syncline.backend.http.messages import BackendResponse, json_response
from syncline.backend.http.openapi import openapi_document
from syncline.backend.http.request_limits import RequestLimits
from syncline.backend.http.routes import ALL_ROUTES
from syncline.backend.http.routing import Access, Call, Route
from syncline.backend.persisters.base import RetryLater, WriteRefused
from tests.unit.backend.asgi import Answer, RecordingPersister, ask, bearer, make_backend, operation, upload

SOAK = bool(os.environ.get("SYNCLINE_SOAK"))
EXAMPLES = 300 if SOAK else 3  # requests for each operation and mode
SEED = int(os.environ.get("SYNCLINE_SEED") or 20)
DOCUMENT = openapi_document(ALL_ROUTES)
ALL_OPERATIONS = [(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods]
# Older names of a path have its summary; `make soak` asks them too.
OPERATIONS = list({(m, p if SOAK else DOCUMENT["paths"][p][m]["summary"]): (m, p) for m, p in ALL_OPERATIONS}.values())


def no_failure(_context: Any, response: Any, _case: Any) -> None:
    """A made-up request never brings the backend down; 501 and 503 are answers."""
    assert response.status_code != 500, response.text


_OPENAPI: Any = checks
CHECKED = [
    no_failure,
    _OPENAPI.status_code_conformance,
    _OPENAPI.content_type_conformance,
    _OPENAPI.response_schema_conformance,
]


_UNHURRIED = [
    HealthCheck.too_slow,
    HealthCheck.filter_too_much,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]


class Feed:
    """A change feed that has one row."""

    async def changes(self, user: AuthenticatedUser, since: str | None) -> ChangesPage:
        """One page."""
        return ChangesPage({"lists": [{"id": "l1"}]}, "1")


def app(**options: Any) -> SyncApp:
    """A backend where ann is signed in."""

    async def signed_in(_scope: Any) -> AuthenticatedUser:
        return AuthenticatedUser("ann")

    persister = RecordingPersister(failures={"refused": WriteRefused("CHECK_VIOLATION", "no", operation_index=0)})
    options.setdefault("limits", RequestLimits(requests_per_second=None))
    return SyncApp(make_backend(persister, change_feed=Feed(), **options), current_user=signed_in)


def check(app: SyncApp, method: str, path: str, mode: GenerationMode) -> None:
    """Ask one operation what its description allows (or does not), and compare the answers with what they may be."""
    schema: Any = schemathesis.openapi.from_asgi("/api/openapi.json", app)
    print(f"SYNCLINE_SEED={SEED}, {EXAMPLES} examples")

    @seed(SEED)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=_UNHURRIED, print_blob=True)
    @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        case.validate_response(case.call(headers=bearer("ann")), checks=CHECKED)

    run()


@pytest.mark.requirement(127, 149)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_the_document_allows_is_answered_as_it_says(method: str, path: str) -> None:
    check(app(), method, path, GenerationMode.POSITIVE)


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path in OPERATIONS if "requestBody" in DOCUMENT["paths"][path][method]],
)
def test_what_the_document_does_not_allow_is_answered_as_it_says(method: str, path: str) -> None:
    check(app(), method, path, GenerationMode.NEGATIVE)


def test_an_answer_that_the_document_does_not_know_is_noticed() -> None:
    async def lie(_call: Call) -> BackendResponse:
        return json_response({"checkpoint": 1}, status=200)

    known = next(route for route in ALL_ROUTES if route.path == "/api/data/checkpoint")
    route = Route(
        "GET", "/api/lie", lie, "A number where a text is promised", access=Access.PUBLIC, answers=known.answers
    )
    with pytest.raises(BaseException, match="Response violates schema"):
        check(app(more_routes=[route]), "get", "/api/lie", GenerationMode.POSITIVE)


# The official contract.


def official_problems(result: Mapping[str, Any]) -> list[str]:
    """What an official connector could not read in one result; fields of ours are ignored by it."""
    kinds: dict[str, Any] = {"message": str, "retry_after_ms": int, "requires_client_handling": bool}
    problems = [name for name, kind in kinds.items() if name in result and type(result[name]) is not kind]
    status = result["status"]
    if status not in ("success", "retryable_error", "fatal_error", "not_attempted"):
        problems.append("status")
    if status == "fatal_error":
        failed = result.get("failed_operation", {})
        problems += [] if "requires_client_handling" in result else ["requires_client_handling is missing"]
        problems += [] if isinstance(failed.get("error_code"), str) else ["error_code"]
        problems += [] if isinstance(failed.get("operation_index", 0), int) else ["operation_index"]
    elif "failed_operation" in result or "requires_client_handling" in result:
        problems.append("fields of a fatal error")
    return problems


async def send(body: bytes, *, headers: dict[str, str] | None = None, **options: Any) -> Answer:
    failures: dict[str, Exception] = {
        "refused": WriteRefused("CHECK_VIOLATION", "no", operation_index=0, details={"rule": "stars"}),
        "later": RetryLater("The database cannot take the write at the moment."),
        "forked": WriteRefused("CLIENT_FORKED", "ids", operation_index=None),
        "broken": RuntimeError("a bug"),
    }
    backend = make_backend(RecordingPersister(failures=failures), **options)
    return await ask(
        SyncApp(backend), "POST", "/api/data", headers=bearer("ann") if headers is None else headers, body=body
    )


@pytest.mark.requirement(128, 153)
@pytest.mark.parametrize(
    ("row_ids", "on_fatal", "statuses"),
    [
        (["a", "refused", "c"], "stop", ["success", "fatal_error", "not_attempted"]),
        (["a", "refused", "c"], "skip", ["success", "fatal_error", "success"]),
        (["a", "later", "c"], "skip", ["success", "retryable_error", "not_attempted"]),
        (["forked", "b"], "skip", ["fatal_error", "not_attempted"]),
        (["broken", "b"], "skip", ["retryable_error", "not_attempted"]),
    ],
)
async def test_every_verdict_has_the_shape_of_the_contract(
    row_ids: list[str], on_fatal: str, statuses: list[str]
) -> None:
    answer = await send(upload(*[[operation(row_id=row_id)] for row_id in row_ids]), on_fatal=on_fatal)
    results = answer.json()["results"]
    assert (answer.status, [result["status"] for result in results]) == (200, statuses)
    assert [official_problems(result) for result in results] == [[]] * len(results)
    assert all("retry_after_ms" in result for result in results if result["status"] == "retryable_error")


async def test_the_first_form_answers_200_with_one_verdict() -> None:
    for row_id in ("a", "refused", "later"):
        answer = await send(json.dumps({"crud": [operation(row_id=row_id)], "transaction_id": 1}).encode())
        assert (answer.status, official_problems(answer.json())) == (200, [])


@pytest.mark.requirement(128)
async def test_other_statuses_have_a_message() -> None:
    good = upload([operation()])
    assert (await send(b"{}")).status == 400
    assert (await send(good, headers={})).status == 401
    assert (await send(b"{}", headers={"authorization": "Bearer a.b.c"})).status == 401
    too_many = [await send(upload(*[[operation()]] * count)) for count in (50, 51)]
    assert [answer.status for answer in too_many] == [200, 400]
    for answer in (await send(b"{}"), await send(good, headers={}), too_many[1]):
        assert isinstance(answer.json()["message"], str)


@pytest.mark.requirement(255)
async def test_fields_of_later_versions_are_ignored_both_ways() -> None:
    later = {
        "protocol_version": 2,
        "compression": "none",
        "transactions": [{"crud": [operation(priority=1)], "sent_at": "2030-01-01"}],
    }
    answer = await send(json.dumps(later).encode(), tables={"lists": TablePolicy(owner=None)})
    assert (answer.status, answer.json()) == (200, {"results": [{"status": "success"}], "protocol_version": 1})
    assert (await send(json.dumps(later | {"protocol_version": "x"}).encode())).status == 400
