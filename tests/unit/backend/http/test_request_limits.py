"""Each limit of a request is reached here: at the limit it goes through, one above it is refused with a clear answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncline.backend.http.messages import BackendRequest, BackendResponse
from syncline.backend.http.request_limits import RequestLimits, TokenBuckets
from syncline.backend.limits import (
    BODY_BYTES_MAX,
    JSON_DEPTH_MAX,
    REQUEST_BURST_MAX,
    REQUESTS_PER_SECOND_MAX,
    ROW_ID_CHARACTERS_MAX,
    UPLOADS_AT_ONCE_MAX,
    USERS_RATED_MAX,
)
from syncline.backend.persisters.base import UploadIdentity, Write
from syncline.errors import ConfigError
from syncline.protocol.crud import OPERATIONS_MAX, TransactionResult
from syncline.testing.waiting import eventually
from tests.unit.backend.asgi import RecordingPersister, bearer, make_backend, operation, upload


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class HeldPersister(RecordingPersister):
    """Applies nothing until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()
        self.waiting = 0

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        self.waiting += 1
        await self.let.wait()
        return await super().apply(writes, identity)


def post(body: bytes, user: str = "ann", **headers: str) -> BackendRequest:
    return BackendRequest("POST", "/api/data", headers=bearer(user) | headers, body=body)


async def codes(crud: list[dict[str, Any]]) -> list[Any]:
    answer = await make_backend().handle(post(upload(crud)))
    assert answer.status == 200, answer.body
    return [result.get("failed_operation", {}).get("error_code") for result in json.loads(answer.body)["results"]]


def test_the_defaults_are_the_named_limits() -> None:
    limits = RequestLimits()
    assert (limits.body_bytes, limits.uploads_at_once) == (BODY_BYTES_MAX, UPLOADS_AT_ONCE_MAX)
    assert (limits.requests_per_second, limits.burst) == (REQUESTS_PER_SECOND_MAX, REQUEST_BURST_MAX)
    assert limits.users_rated == USERS_RATED_MAX


@pytest.mark.parametrize("wrong", [{"body_bytes": 0}, {"burst": -1}, {"body_bytes": 10, "bodies_bytes": 9}])
def test_a_limit_that_nothing_could_pass_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        RequestLimits(**wrong)  # pyright: ignore[reportArgumentType]  # limits by name


async def test_bytes_of_a_body() -> None:
    body = upload([operation()])
    backend = make_backend(limits=RequestLimits(body_bytes=len(body)))
    assert (await backend.handle(post(body))).status == 200
    assert (await backend.handle(post(body + b" "))).status == 413
    assert (await backend.handle(post(body, **{"content-length": str(len(body) + 1)}))).status == 413
    assert (await backend.handle(post(body, **{"content-length": "9" * 6000}))).status == 413


async def test_bytes_of_all_bodies_that_arrive_at_a_time() -> None:
    """Two bodies that fit alone do not fit together; when one has gone, there is room."""
    body = upload([operation()])
    backend = make_backend(limits=RequestLimits(body_bytes=len(body), bodies_bytes=len(body) + 5))
    let = asyncio.Event()
    begun = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield body[:10]
        begun.set()
        await let.wait()
        yield body[10:]

    request = BackendRequest("POST", "/api/data", headers=bearer("ann"))
    slow_one = asyncio.create_task(backend.handle(request, body_parts=slow()))
    await begun.wait()
    refused = await backend.handle(post(body))
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    let.set()
    assert (await slow_one).status == 200
    assert (await backend.handle(post(body))).status == 200


async def test_seconds_for_a_body() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    backend = make_backend(limits=RequestLimits(body_seconds=0.02))
    request = BackendRequest("POST", "/api/data", headers=bearer("ann"))
    assert (await backend.handle(request, body_parts=endless())).status == 408
    assert (await backend.handle(post(upload([operation()])))).status == 200


async def test_uploads_at_a_time() -> None:
    persister = HeldPersister()
    backend = make_backend(persister, limits=RequestLimits(uploads_at_once=2))
    two = [asyncio.create_task(backend.handle(post(upload([operation()])))) for _ in range(2)]
    await eventually(lambda: persister.waiting == 2)
    third: BackendResponse = await backend.handle(post(upload([operation()])))
    assert (third.status, third.headers["retry-after"]) == (503, "1")
    assert (await backend.handle(BackendRequest("GET", "/api/auth/jwks"))).status == 200
    persister.let.set()
    assert [answer.status for answer in await asyncio.gather(*two)] == [200, 200]
    assert (await backend.handle(post(upload([operation()])))).status == 200


async def test_requests_of_one_user() -> None:
    clock = Clock()
    backend = make_backend(limits=RequestLimits(requests_per_second=0.5, burst=2), clock=clock)

    async def status(user: str) -> tuple[int, str]:
        answer = await backend.handle(post(upload([operation()]), user))
        return answer.status, answer.headers.get("retry-after", "")

    assert [await status("ann") for _ in range(3)] == [(200, ""), (200, ""), (429, "2")]
    assert await status("bob") == (200, "")
    clock.now_s += 1.0
    assert await status("ann") == (429, "1")
    clock.now_s += 1.0
    assert [await status("ann") for _ in range(2)] == [(200, ""), (429, "2")]
    clock.now_s += 1000
    assert [(await status("ann"))[0] for _ in range(3)] == [200, 200, 429]  # no more than the burst is saved up


async def test_a_refused_request_is_not_looked_at() -> None:
    persister = RecordingPersister()
    backend = make_backend(persister, limits=RequestLimits(requests_per_second=1, burst=1), clock=Clock())
    assert [(await backend.handle(post(upload([operation()])))).status for _ in range(2)] == [200, 429]
    assert len(persister.applied) == 1


def test_users_whose_rate_is_remembered() -> None:
    buckets = TokenBuckets(per_second=1, burst=1, users_max=3)
    assert [buckets.take(user, now_s=0) for user in "abc"] == [0, 0, 0]
    assert buckets.take("a", now_s=0) == 1.0
    for number in range(1000):
        buckets.take(f"user {number}", now_s=0)
    assert len(buckets) == 3
    assert buckets.take("a", now_s=0) == 0  # forgotten: a full bucket again


async def test_operations_of_one_request() -> None:
    backend = make_backend()
    assert (await backend.handle(post(upload([operation()] * OPERATIONS_MAX)))).status == 200
    assert (await backend.handle(post(upload([operation()] * (OPERATIONS_MAX + 1))))).status == 400


async def test_levels_of_a_value() -> None:
    value: Any = "x"
    for _ in range(JSON_DEPTH_MAX):
        value = [value]
    assert await codes([operation(op_data={"name": value})]) == [None]
    assert await codes([operation(op_data={"name": [value]})]) == ["INVALID_DATA"]
    assert await codes([operation(previous_values={"name": {"a": value}})]) == ["INVALID_DATA"]


async def test_levels_that_no_reader_stands() -> None:
    nested = b"[" * 200_000 + b"]" * 200_000
    body = upload([operation(op_data={"name": 1})]).replace(b'"name": 1', b'"name": ' + nested)
    assert (await make_backend().handle(post(body))).status == 400


async def test_characters_of_an_id() -> None:
    assert await codes([operation(row_id="ä" * ROW_ID_CHARACTERS_MAX)]) == [None]
    assert await codes([operation(row_id="ä" * (ROW_ID_CHARACTERS_MAX + 1))]) == ["INVALID_DATA"]
    assert await codes([operation(row_id="")]) == ["INVALID_DATA"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"transactions": [{"crud": [{"op":"PUT","table":"lists","id":"a","id":"b"}]}]}', 400),
        (b'{"transactions": [{"crud": [{"op":"PUT","table":"lists","id":"a","\\u0069d":"b"}]}]}', 400),
        (
            b'{"transactions": [{"crud": [{"op":"PUT","table":"a:b","id":"c:\\"d","op_data":{"e":"{\\"f\\":1}"}}]}]}',
            200,
        ),
        (b'{"transactions": [{"crud": [{"op":"PUT","table":"lists","id":"a","op_data":{"name":NaN}}]}]}', 400),
        (b'{"transactions": [{"crud": [{"op":"PUT","table":"lists","id":"a","op_data":{"name":1e999}}]}]}', 400),
        (b'{"transactions": [{"crud": [{"op":"PUT","table":"lists","id":"\xff"}]}]}', 400),
    ],
)
async def test_what_readers_of_json_disagree_about_is_refused(body: bytes, status: int) -> None:
    assert (await make_backend().handle(post(body))).status == status


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 415), ("br", 415), ("identity", 200), ("", 200)])
async def test_a_compressed_body_is_not_accepted(encoding: str, status: int) -> None:
    assert (await make_backend().handle(post(upload([operation()]), **{"content-encoding": encoding}))).status == status
