"""Bugs of uploads and write checkpoints that other clients had, one test each (write path reference, 8; Python client reference, 12).

Where a bug has its test elsewhere: a failed round that waits for the next write, an exception that counts as success, a write that
races the checkpoint, `uploading` for ever (tests/unit/client/test_uploader.py); a restart with a shut gate and an empty queue
(test_crash_points.py); a write checkpoint that never comes (test_watchdogs.py); rejections in the body of a 200, 401 taken for permanent
(test_connector_dialects.py).
"""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import pytest

import syncline.client
from syncline.client import HttpConnector, RequestTimeouts, SyncDatabase, TransactionsUploader
from syncline.client.errors import ConnectionFailed
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, Fixed, names, until
from tests.integration.client.test_upload import EMPTY, count, drained, write
from tests.support.foreign_backend import ForeignBackend, serve_backend
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

QUICK = RequestTimeouts(connect_s=2.0, answer_s=30.0, overdue_s=0.2, probe_s=0.5, probe_pause_s=0.05)


async def test_data_that_arrives_during_an_upload_is_applied_after_it_without_any_further_data(
    db: SyncDatabase, service: ScriptedService
) -> None:
    """powersync-js PR 558, powersync-kotlin 243."""
    sending, answered = asyncio.Event(), asyncio.Event()

    class Slow(Fixed):
        async def upload_data(self, db: SyncDatabase) -> None:
            sending.set()
            await answered.wait()
            await super().upload_data(db)

    service.lines = EMPTY
    await db.connect(Slow(service.url), retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await write(db, "a")
    async with asyncio.timeout(DEADLINE_S):
        await sending.wait()
    ops = [put(1, "lists", "a", name="from the source"), put(2, "lists", "b", name="of somebody else")]
    service.send(checkpoint(2, bucket("1#a[]", ops), write_checkpoint="1"), data("1#a[]", ops), complete(2))
    await db.wait_for_status(lambda s: s.blocked_by is not None, DEADLINE_S)
    assert await names(db) == ["a"]
    answered.set()
    await db.wait_for_status(lambda s: s.blocked_by is None and not s.downloading, DEADLINE_S)
    assert await names(db) == ["from the source", "of somebody else"]


@pytest.mark.requirement(30)
async def test_custom_checkpoints_that_the_service_does_not_know_freeze_nothing(
    db: SyncDatabase, service: ScriptedService
) -> None:
    """powersync-js 634: the backend counts, the service was never told to read the numbers."""
    async with serve_backend(ForeignBackend(service_url=service.url)) as backend:
        backend.sessions[""] = "u1"  # whoever comes
        backend.checkpoints = 1_000_000
        service.lines = EMPTY
        connector = HttpConnector(backend.url, checkpoint_path="/api/data/checkpoint")
        await write(db, "a")
        await db.connect(connector, retry_delay_s=FAST_S, write_checkpoint_timeout_s=0.3)
        ops = [put(1, "lists", "a", name="from the source")]
        await drained(db)
        await until(lambda: service.open_streams > 0)
        service.send(checkpoint(1, bucket("1#a[]", ops)), data("1#a[]", ops), complete(1))
        await db.wait_for_status(lambda s: s.blocked_by == "write_checkpoint", DEADLINE_S)
        await until(lambda: service.write_checkpoints >= 1)  # a managed one is asked for in its place
        number = str(service.write_checkpoints)
        service.send(checkpoint(1, bucket("1#a[]", ops), write_checkpoint=number), complete(1))
        await db.wait_for_status(lambda s: s.blocked_by is None, DEADLINE_S)
        assert await names(db) == ["from the source"]


@pytest.mark.requirement(34)
async def test_a_backend_that_dies_in_the_middle_of_an_upload_keeps_the_queue_until_it_is_back(
    db: SyncDatabase, service: ScriptedService
) -> None:
    service.lines = EMPTY
    backend = ForeignBackend(service_url=service.url, sessions={"": "u1"})
    taken = asyncio.Event()

    async def never() -> None:
        if backend.uploads:
            taken.set()
            await asyncio.Event().wait()

    await write(db, "a")
    async with serve_backend(backend) as running:
        port = int(running.url.rpartition(":")[2])
        backend.before_answer = never
        await db.connect(HttpConnector(running.url, uploader=TransactionsUploader()), retry_delay_s=FAST_S)
        async with asyncio.timeout(DEADLINE_S):
            await taken.wait()
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, ConnectionFailed)
    assert await count(db) == 1
    backend.before_answer = None
    async with serve_backend(backend, port=port):
        await drained(db)
        assert backend.tables == {"lists": {"a": {"name": "a"}}}
        await db.wait_for_status(lambda s: s.upload_error is None, DEADLINE_S)


async def test_a_backend_that_falls_silent_is_told_and_sent_to_again_once_it_speaks(
    db: SyncDatabase, service: ScriptedService
) -> None:
    """powersync.dart 307: after a partition in the middle of an upload the client said `uploading` for ever."""
    service.lines = EMPTY
    silent = True
    connections: list[asyncio.StreamWriter] = []

    async with serve_backend(ForeignBackend(service_url=service.url, sessions={"": "u1"})) as backend:

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            if silent:
                await reader.read()  # takes everything and says nothing
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(backend.url.rpartition(":")[2]))
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while chunk := await reader.read(65536):
                writer.write(chunk)
            writer.close()

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            await write(db, "a")
            await db.connect(HttpConnector(url, timeouts=QUICK), retry_delay_s=FAST_S)
            status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
            assert isinstance(status.upload_error, ConnectionFailed)
            assert "does not answer" in str(status.upload_error)
            silent = False
            await drained(db)
            assert backend.tables == {"lists": {"a": {"name": "a"}}}
        finally:
            await db.disconnect()
            server.close()
            for writer in connections:
                writer.transport.abort()


async def test_a_slow_backend_is_waited_for(db: SyncDatabase) -> None:
    """It answers a probe: the way is open, and giving up would only make it work twice."""
    released = asyncio.Event()

    async with serve_backend(ForeignBackend(sessions={"": "u1"})) as backend:

        async def slow() -> None:
            if backend.uploads:
                await released.wait()

        backend.before_answer = slow
        connector = HttpConnector(backend.url, timeouts=QUICK)
        await write(db, "a")
        uploading = asyncio.create_task(connector.upload_data(db))
        path = connector._client.path() if connector._client is not None else None
        assert path is not None
        probes = 0
        original = path._probe

        async def counted() -> object:
            nonlocal probes
            probes += 1
            return await original()

        path._probe = counted
        async with asyncio.timeout(DEADLINE_S):
            while probes < 3:  # noqa: ASYNC110 - three times as long as a request may be silent unexamined
                await asyncio.sleep(0.01)
        assert not uploading.done()
        released.set()
        await uploading
        assert len(backend.uploads) == 1
        assert await count(db) == 0


def completions_in_handlers(tree: ast.AST) -> list[int]:
    """Lines on which a `complete` is called inside an except block."""
    return [
        call.lineno
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler)
        for call in ast.walk(handler)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("complete", "reject")
    ]


@pytest.mark.requirement(33)
def test_nothing_is_completed_because_of_an_exception() -> None:
    """A published template completed transactions in its catch block: whatever failed was lost."""
    folder = Path(syncline.client.__file__).parent
    sources = [folder / "http_connector.py", folder / "uploader.py", *sorted((folder / "connectors").glob("*.py"))]
    found: dict[str, Any] = {
        path.name: lines for path in sources if (lines := completions_in_handlers(ast.parse(path.read_text("utf-8"))))
    }
    assert found == {}
    wrong = "try:\n  f()\nexcept Exception:\n  await tx.complete()\n"
    assert completions_in_handlers(ast.parse(wrong)) == [4]
