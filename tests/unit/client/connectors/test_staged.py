from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from syncline.client.connectors.authorized import AuthorizedBackend
from syncline.client.connectors.backend_client import Answer
from syncline.client.connectors.outcomes import RequestTooLarge
from syncline.client.connectors.staged import PART_BYTES_MAX, PART_BYTES_MIN, StagedSender
from syncline.client.connectors.write_api import wire_operation
from syncline.client.crud import CrudEntry, QueuedTransaction
from syncline.client.errors import RetryableUploadError, ServiceError
from syncline.client.upload_queue import CrudTransaction, UploadQueue
from syncline.protocol.crud import ResultStatus, TransactionResult, UpdateType
from syncline.protocol.staged import StagedBegin, StagedState, StagedStatus, hash_of_part

SUCCESS = TransactionResult(ResultStatus.SUCCESS)


class MemoryBackend:
    """Staged uploads in memory: parts by number. `answer` may answer instead, by method and path."""

    def __init__(self, *, part_bytes: int = 4 * 1024 * 1024, body_bytes_max: int = 10**9) -> None:
        self.parts: dict[int, bytes] = {}
        self.begins: list[StagedBegin] = []
        self.requests: list[tuple[str, str]] = []
        self.part_bytes = part_bytes
        self.body_bytes_max = body_bytes_max
        self.answer: Callable[[str, str], Answer | None] = lambda _method, _path: None
        self.result: TransactionResult | None = None

    def url(self, path: str) -> str:
        return f"http://backend{path}"

    async def request(self, method: str, path: str, *, value: Any = None, body: bytes | None = None) -> Answer:
        self.requests.append((method, path.removeprefix("/api/data/staged")))
        scripted = self.answer(*self.requests[-1])
        if scripted is not None:
            return scripted
        if body is not None:
            if len(body) > self.body_bytes_max:
                return Answer(413, b'{"message": "too large"}')
            self.parts[int(path.rpartition("/")[2])] = body
            return Answer(204, b"")
        if path.endswith("/commit"):
            manifest: list[str] = value.parts
            missing = [n for n, digest in enumerate(manifest) if hash_of_part(self.parts.get(n, b"")) != digest]
            if missing:
                return Answer(409, msgspec.json.encode({"message": "missing", "missing": missing}))
            self.result = SUCCESS
        elif method == "POST":
            self.begins.append(value)
        return self.status()

    def status(self, state: StagedState | None = None, status: int = 200) -> Answer:
        parts = {number: hash_of_part(body) for number, body in self.parts.items()}
        found = StagedStatus(
            id="u1",
            state=state or (StagedState.DONE if self.result else StagedState.OPEN),
            part_bytes=self.part_bytes,
            parts=parts,
            result=self.result,
        )
        return Answer(status, msgspec.json.encode(found))

    def puts(self) -> int:
        return sum(method == "PUT" for method, _ in self.requests)


def transaction(count: int = 20, row_bytes: int = 20_000) -> CrudTransaction:
    entries = [
        CrudEntry(number, f"r{number}", UpdateType.PUT, "notes", {"text": "x" * row_bytes}, 5)
        for number in range(41, 41 + count)
    ]
    return CrudTransaction(cast("UploadQueue", None), QueuedTransaction(5, entries))


async def send(
    backend: MemoryBackend, whole: CrudTransaction | None = None, **options: Any
) -> TransactionResult | None:
    whole = whole or transaction()
    return await StagedSender(**options).send(
        whole, lambda: map(wire_operation, whole.crud), cast("AuthorizedBackend", backend), client_id="device"
    )


async def test_a_transaction_is_announced_with_its_identity_and_brought_in_parts() -> None:
    backend = MemoryBackend(part_bytes=100_000)
    assert await send(backend) == SUCCESS
    [begin] = backend.begins
    assert (begin.client_id, begin.first_op_id, begin.last_op_id) == ("device", 41, 60)
    assert (begin.operations, begin.transaction_id) == (20, 5)
    assert len(backend.parts) == 5
    assert all(len(body) <= 100_020 for body in backend.parts.values())


async def test_parts_have_a_size_of_their_own_whatever_the_backend_wishes() -> None:
    backend = MemoryBackend(part_bytes=10**9)
    await send(backend, transaction(120))
    assert len(backend.parts) == 3
    assert max(map(len, backend.parts.values())) <= PART_BYTES_MAX


async def test_what_is_stored_is_not_sent_again() -> None:
    backend = MemoryBackend(part_bytes=100_000)
    await send(backend)
    puts = backend.puts()
    backend.result = None
    del backend.parts[2]
    assert await send(backend) == SUCCESS
    assert backend.puts() == puts + 1


async def test_a_verdict_that_is_there_ends_it_at_once() -> None:
    backend = MemoryBackend()
    backend.result = SUCCESS
    assert await send(backend) == SUCCESS
    assert backend.requests == [("POST", "")]


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_backend_without_staged_uploads_is_told_apart(status: int) -> None:
    backend = MemoryBackend()
    backend.answer = lambda _method, _path: Answer(status, b"")
    assert await send(backend) is None


async def test_parts_shrink_until_they_pass() -> None:
    backend = MemoryBackend(body_bytes_max=150_000)
    assert await send(backend) == SUCCESS
    assert len(backend.parts) >= 3
    assert {path for method, path in backend.requests if method == "POST"} == {"", "/u1/commit"}


async def test_parts_do_not_shrink_for_ever() -> None:
    backend = MemoryBackend(body_bytes_max=10)
    with pytest.raises(RequestTooLarge):
        await send(backend)
    sizes = PART_BYTES_MAX
    attempts = 1
    while sizes > PART_BYTES_MIN:
        sizes //= 2
        attempts += 1
    assert backend.puts() == attempts


async def test_a_limit_that_smaller_parts_cannot_help_is_not_tried_with_smaller_parts() -> None:
    backend = MemoryBackend()
    full = Answer(413, b'{"message": "1 GiB", "code": "STAGED_FULL"}')
    backend.answer = lambda method, _path: full if method == "PUT" else None
    with pytest.raises(RequestTooLarge, match="1 GiB"):
        await send(backend)
    assert backend.puts() == 1


async def test_parts_that_get_lost_are_brought_again_but_not_for_ever() -> None:
    backend = MemoryBackend(part_bytes=100_000)

    def forget(method: str, path: str) -> Answer | None:
        if path.endswith("/commit"):
            backend.parts.clear()
        return None

    backend.answer = forget
    with pytest.raises(RetryableUploadError, match="loses parts"):
        await send(backend)
    assert backend.puts() == 15  # three times all five


async def test_one_that_is_gone_or_closed_is_looked_at_again_by_the_next_attempt() -> None:
    for method, status in (("PUT", 404), ("PUT", 409), ("GET", 404)):
        backend = MemoryBackend()
        if method == "GET":
            backend.answer = lambda asked, path, backend=backend: (
                Answer(404, b"")
                if asked == "GET"
                else backend.status(StagedState.APPLYING, 202)
                if "commit" in path
                else None
            )
        else:
            backend.answer = lambda asked, _path, status=status: Answer(status, b"") if asked == "PUT" else None
        with pytest.raises(RetryableUploadError):
            await send(backend)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b'{"id": 5}'])
async def test_an_answer_of_something_else_settles_nothing(body: bytes) -> None:
    backend = MemoryBackend()
    backend.answer = lambda _method, _path: Answer(200, body)
    with pytest.raises(ServiceError, match="did not answer as staged uploads do"):
        await send(backend)


async def test_a_server_error_settles_nothing() -> None:
    backend = MemoryBackend()
    backend.answer = lambda method, _path: Answer(503, b"", {"retry-after": "7"}) if method == "PUT" else None
    with pytest.raises(ServiceError) as raised:
        await send(backend)
    assert (raised.value.status_code, raised.value.retry_after_s) == (503, 7.0)


async def test_an_upload_that_is_open_again_without_a_result_is_tried_again() -> None:
    backend = MemoryBackend()
    backend.answer = lambda _method, path: backend.status(StagedState.OPEN) if path.endswith("/commit") else None
    with pytest.raises(RetryableUploadError, match="opened"):
        await send(backend)
