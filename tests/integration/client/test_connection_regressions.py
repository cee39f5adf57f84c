"""Bugs that other SDKs had in connecting and downloading (Python client reference, 12), and the states in which a client could wait for
ever (contract C6): one named test each. Those of uploading alone are in test_upload.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import apsw
import pytest

from syncline.client import Credentials, HttpConnector, SyncDatabase
from syncline.client.connection import ConnectionLimits
from syncline.client.core.checkpoint import ApplyResult
from syncline.client.core.stalls import Stalled, Wait
from syncline.client.core.status import SyncState, SyncStatus
from syncline.client.errors import ChecksumMismatch, ConnectionFailed, ServiceError
from syncline.client.local.buckets import BucketStore
from syncline.client.sync_loop import SyncLoop
from syncline.client.transport.base import Transport
from syncline.client.transport.http import HttpTransport
from syncline.errors import ClientError
from syncline.protocol.requests import StreamRequest
from syncline.testing.waiting import eventually
from tests.integration.client.test_sync import DEADLINE_S, FAST_S, ROWS, WHOLE, Fixed, names
from tests.integration.client.test_upload import EMPTY, write
from tests.support.scripted_service import ScriptedService, bucket, checkpoint, complete, data, put

SOON = ConnectionLimits(stall_report_s=0.1)


async def stalled(db: SyncDatabase, reason: Wait) -> SyncStatus:
    """Wait until the status says what is waited for."""
    status = await db.wait_for_status(
        lambda s: isinstance(s.stalled, Stalled) and s.stalled.reason is reason, timeout=DEADLINE_S
    )
    assert status.stalled is not None
    assert status.state is SyncState.ERROR
    return status


async def goes_on(db: SyncDatabase) -> None:
    await db.wait_for_status(lambda s: s.stalled is None and s.state is SyncState.SYNCED, DEADLINE_S)


async def test_4_a_checkpoint_that_arrives_during_an_upload_is_applied_after_it(
    db: SyncDatabase, service: ScriptedService
) -> None:
    class Waiting(Fixed):
        async def upload_data(self, db: SyncDatabase) -> None:
            begun.set()
            await go_on.wait()
            await super().upload_data(db)

    begun, go_on = asyncio.Event(), asyncio.Event()
    service.lines = EMPTY
    await db.connect(Waiting(service.url), retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await write(db, "a")
    await begun.wait()
    # It names the write checkpoint that is going to be asked for: nothing else will ever come.
    ops = [put(1, "lists", "a", name="from the source")]
    service.send(checkpoint(1, bucket("1#a[]", ops), write_checkpoint="1"), data("1#a[]", ops), complete(1))
    await db.wait_for_status(lambda s: s.blocked_by == "pending_uploads", DEADLINE_S)
    go_on.set()
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)
    assert await names(db) == ["from the source"]


async def test_5_a_gate_that_a_crash_left_closed_over_an_empty_queue_is_opened(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    await write(db, "a")
    transaction = await db.get_next_crud_transaction()
    assert transaction is not None
    await transaction.complete()  # and the process ends before it asks for a write checkpoint
    await db.connect(connector, retry_delay_s=FAST_S)
    await eventually(lambda: service.write_checkpoints == 1)
    service.send(checkpoint(2, bucket("1#a[]", ROWS), write_checkpoint="1"), complete(2))
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)
    assert await names(db) == ["Groceries", "Work"]


async def test_6_a_write_checkpoint_that_never_comes_is_in_the_status_and_asked_for_again(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = EMPTY
    await db.connect(connector, retry_delay_s=FAST_S, write_checkpoint_timeout_s=0.2, limits=SOON)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    await write(db, "a")

    def keep_alive_until_told() -> bool:
        service.send({"token_expires_in": 300})
        stalled = db.current_status.stalled
        return isinstance(stalled, Stalled) and stalled.reason is Wait.WRITE_CHECKPOINT

    await eventually(keep_alive_until_told)
    assert db.current_status.blocked_by == "write_checkpoint"
    await eventually(lambda: service.write_checkpoints >= 2)
    service.send(checkpoint(0, write_checkpoint="1000"), complete(0))
    await goes_on(db)


async def test_7_custom_write_checkpoints_set_up_half_way_are_named(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    """The service makes write checkpoints from the source alone and refuses requests; the backend does not name its own."""
    service.lines, service.request_status = EMPTY, 400
    await db.connect(connector, retry_delay_s=FAST_S)
    await write(db, "a")
    status = await db.wait_for_status(lambda s: s.upload_error is not None, DEADLINE_S)
    assert isinstance(status.upload_error, ServiceError)
    assert "complete(write_checkpoint)" in status.upload_error.hint
    assert status.state is SyncState.ERROR
    service.request_status = None  # put right: nothing has to be done on the device
    await eventually(lambda: service.write_checkpoints >= 1)
    await db.wait_for_status(lambda s: s.upload_error is None, DEADLINE_S)


async def test_8_wrong_checksums_name_the_buckets_and_are_not_tried_in_a_hot_loop(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    wrong = [checkpoint(2, bucket("1#a[]", ROWS, checksum=5)), data("1#a[]", ROWS), complete(2)]
    service.lines = wrong
    loop = asyncio.get_running_loop()
    seen: dict[int, float] = {}

    def note(_: SyncStatus) -> None:
        seen.setdefault(len(service.requests), loop.time())

    db.register_listener(note)
    await db.connect(connector, retry_delay_s=0.02)
    status = await db.wait_for_status(lambda s: isinstance(s.download_error, ChecksumMismatch), DEADLINE_S)
    assert isinstance(status.download_error, ChecksumMismatch)
    assert status.download_error.buckets == ["1#a[]"]
    await eventually(lambda: len(service.requests) >= 5)
    pauses = [seen[count + 1] - seen[count] for count in range(1, 4)]
    assert pauses[2] > 0.04  # 0.02, 0.04 and 0.08 s, each up to a quarter shorter
    assert all(request.get("buckets", []) == [] for request in service.requests)  # from the beginning each time
    service.lines = WHOLE
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)


@pytest.mark.requirement(10)
async def test_9_exceptions_of_fetch_credentials_are_in_the_status_and_tried_again(
    db: SyncDatabase, service: ScriptedService
) -> None:
    class Failing(Fixed):
        async def fetch_credentials(self) -> Credentials | None:
            self.calls += 1
            if self.calls <= 2:
                raise failures[self.calls - 1]
            return Credentials(self.endpoint, "t")

    failures = [RuntimeError("backend"), KeyError("token")]
    seen: list[Exception] = []
    service.lines = WHOLE
    db.register_listener(lambda s: seen.append(s.download_error) if s.download_error else None)
    connector = Failing(service.url)
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)
    assert connector.calls == 3
    assert list(dict.fromkeys(seen)) == failures


async def test_9_a_token_that_is_refused_is_not_used_again_for_checkpoint_requests_either(
    db: SyncDatabase, service: ScriptedService
) -> None:
    service.lines, service.request_status, service.request_refusals = EMPTY, 401, 1
    connector = Fixed(service.url)
    await db.connect(connector, retry_delay_s=60)
    await write(db, "a")
    await eventually(lambda: service.write_checkpoints == 1)
    assert connector.calls == 2


async def test_10_a_connector_that_does_not_end_does_not_hold_up_disconnect_or_the_next_connection(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless(Fixed):
        async def upload_data(self, db: SyncDatabase) -> None:
            self.uploads += 1
            begun.set()
            while not let_go.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await let_go.wait()

    monkeypatch.setattr("syncline.client.connection.STOP_TIMEOUT_S", 0.05)
    begun, let_go = asyncio.Event(), asyncio.Event()
    service.lines = EMPTY
    await write(db, "a")
    endless = Endless(service.url)
    await db.connect(endless, retry_delay_s=FAST_S)
    await begun.wait()
    async with asyncio.timeout(DEADLINE_S):
        await db.disconnect()
    assert db.current_status.state is SyncState.OFFLINE
    assert not db.current_status.uploading
    await db.connect(connector, retry_delay_s=FAST_S)
    await eventually(lambda: service.write_checkpoints == 1)
    service.send(checkpoint(0, write_checkpoint="1"), complete(0))
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)
    let_go.set()
    await write(db, "b")
    await eventually(lambda: len(service.uploads) == 2)
    assert endless.uploads == 1  # what was left of the old connection has ended


async def test_10_connecting_after_a_clear_and_after_a_failed_connection_starts(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    with pytest.raises(ValueError, match="no transport"):
        await db.connect(connector, transport="carrier pigeon")  # type: ignore[arg-type]  # wrong on purpose
    for _ in range(2):
        await db.connect(connector, retry_delay_s=FAST_S)
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        await db.disconnect_and_clear()
        assert await names(db) == []
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.connect(connector, retry_delay_s=FAST_S)  # the latest wins
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert await names(db) == ["Groceries", "Work"]


@pytest.mark.parametrize("moment", ["connecting", "opening", "pausing"])
async def test_11_a_subscription_that_changes_at_any_moment_of_connecting_is_not_lost(
    db: SyncDatabase, service: ScriptedService, moment: str
) -> None:
    class Slow(Fixed):
        async def fetch_credentials(self) -> Credentials | None:
            asked.set()
            await go_on.wait()
            return await super().fetch_credentials()

    asked, go_on = asyncio.Event(), asyncio.Event()
    service.lines = WHOLE
    if moment == "pausing":
        service.refuse = [500]
        go_on.set()
    await db.connect(Slow(service.url), retry_delay_s=0.3 if moment == "pausing" else FAST_S)
    if moment == "opening":
        await asked.wait()
    elif moment == "pausing":
        await db.wait_for_status(lambda s: s.download_error is not None, DEADLINE_S)
    handle = await db.sync_stream("list", {"id": 1}).subscribe()
    await db.wait_for_status(lambda s: s.for_stream("list", {"id": 1}) is not None, DEADLINE_S)
    if moment == "pausing":
        assert len(service.requests) == 1  # told although no stream is open
    go_on.set()
    await eventually(lambda: service.requests and service.requests[-1]["streams"]["subscriptions"])
    await db.sync_stream("list", {"id": 1}).unsubscribe_all()
    await eventually(lambda: service.requests[-1]["streams"]["subscriptions"] == [])
    handle.unsubscribe()


async def test_12_the_first_sync_ends_when_the_user_has_no_stream(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = [{"checkpoint": {"last_op_id": "0", "buckets": [], "streams": []}}, complete(0)]
    await db.connect(connector, include_default_streams=False)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert service.requests[0]["streams"]["include_defaults"] is False


async def test_13_a_connection_without_any_line_is_reported(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    await db.connect(connector, retry_delay_s=FAST_S, limits=SOON)  # answered, and then nothing: a proxy that buffers
    status = await stalled(db, Wait.LINE)
    assert "buffer" in status.stalled.hint  # type: ignore[union-attr]  # it is there
    service.send(*WHOLE)
    await goes_on(db)


async def test_15_an_upload_that_never_returns_is_reported_ended_and_tried_again(
    db: SyncDatabase, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stuck(Fixed):
        async def upload_data(self, db: SyncDatabase) -> None:
            self.uploads += 1
            if self.uploads == 1:
                await asyncio.Event().wait()
            await super().upload_data(db)

    monkeypatch.setattr(HttpTransport, "keepalive_lines", False)  # the service's silence is not what this is about
    service.lines = EMPTY
    limits = ConnectionLimits(stall_report_s=0.05, upload_timeout_s=0.3)
    seen: list[SyncStatus] = []
    db.register_listener(seen.append)
    await write(db, "a")
    await db.connect(Stuck(service.url), retry_delay_s=FAST_S, limits=limits)
    await eventually(lambda: any(isinstance(status.upload_error, ConnectionFailed) for status in seen))
    reasons = [status.stalled.reason for status in seen if isinstance(status.stalled, Stalled)]
    assert Wait.UPLOAD in reasons
    await eventually(lambda: service.write_checkpoints == 1)
    service.send(checkpoint(0, write_checkpoint="1"), complete(0))
    await goes_on(db)


async def test_credentials_that_never_come_are_reported(db: SyncDatabase, service: ScriptedService) -> None:
    class Slow(Fixed):
        async def fetch_credentials(self) -> Credentials | None:
            await go_on.wait()
            return await super().fetch_credentials()

    go_on = asyncio.Event()
    service.lines = WHOLE
    await db.connect(Slow(service.url), retry_delay_s=FAST_S, limits=SOON)
    await stalled(db, Wait.CREDENTIALS)
    go_on.set()
    await goes_on(db)


class Doubtful(Transport):
    """A transport that does what a test tells it, without sockets."""

    name = "doubtful"

    def __init__(self, *, answers: bool = True, lines: list[bytes] | None = None) -> None:
        self.answers = answers
        self.lines = lines or []
        self.opened = 0

    @contextlib.asynccontextmanager
    async def stream(
        self, request: StreamRequest, credentials: Credentials
    ) -> AsyncGenerator[AsyncIterator[list[bytes]]]:
        del request, credentials
        self.opened += 1
        if not self.answers:
            await asyncio.Event().wait()

        async def arriving() -> AsyncIterator[list[bytes]]:
            yield list(self.lines)
            await asyncio.Event().wait()

        yield arriving()

    async def write_checkpoint(self, client_id: str, credentials: Credentials) -> int:
        del client_id, credentials
        await asyncio.Event().wait()
        return 0

    async def request_checkpoint(self, client_id: str, request_id: int, credentials: Credentials) -> int:
        return await self.write_checkpoint(client_id, credentials) + request_id

    async def close(self) -> None:
        pass


def text(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode()


async def test_a_service_that_does_not_answer_is_reported(db: SyncDatabase) -> None:
    transport = Doubtful(answers=False)
    await db.connect(Fixed("http://x"), transport=transport, limits=SOON)
    await stalled(db, Wait.ANSWER)


async def test_a_checkpoint_request_without_an_answer_is_reported(db: SyncDatabase) -> None:
    await write(db, "a")
    await db.connect(Fixed("http://x"), transport=Doubtful(lines=[text(line) for line in EMPTY]), limits=SOON)
    await stalled(db, Wait.CHECKPOINT_REQUEST)


async def test_a_checkpoint_that_does_not_go_on_is_reported_and_asked_for_anew(db: SyncDatabase) -> None:
    transport = Doubtful(lines=[text(WHOLE[0])])
    limits = ConnectionLimits(stall_report_s=0.05, checkpoint_idle_timeout_s=0.3)
    await db.connect(Fixed("http://x"), transport=transport, limits=limits, retry_delay_s=FAST_S)
    await stalled(db, Wait.CHECKPOINT)
    transport.lines = [text(line) for line in WHOLE]
    await goes_on(db)
    assert transport.opened == 2


async def test_a_transaction_of_the_app_that_holds_up_the_download_is_reported(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    service.lines = WHOLE
    async with db.write_transaction():
        await db.connect(connector, retry_delay_s=FAST_S, limits=SOON)
        await stalled(db, Wait.LOCAL_DATABASE)
    await goes_on(db)


async def test_a_full_disk_ends_the_stream_and_the_next_one_begins_from_what_is_stored(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = BucketStore.apply
    failures = [apsw.FullError("database or disk is full"), apsw.BusyError("database is locked")]

    def apply(self: BucketStore, *args: Any, **options: Any) -> ApplyResult:
        result = original(self, *args, **options)
        if failures:
            raise failures.pop()
        return result

    monkeypatch.setattr(BucketStore, "apply", apply)
    errors: list[Exception | None] = []
    db.register_listener(lambda status: errors.append(status.download_error))
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)
    assert await names(db) == ["Groceries", "Work"]
    assert {type(error) for error in errors} == {type(None), apsw.FullError, apsw.BusyError}
    assert await db.get_all("SELECT count(*) AS n FROM ps_oplog") == [(2,)]


async def test_options_that_the_service_would_refuse_are_refused_at_once(
    db: SyncDatabase, connector: HttpConnector
) -> None:
    with pytest.raises(ClientError, match="app_metadata"):
        await db.connect(connector, app_metadata={"build": 7})  # type: ignore[dict-item]  # wrong on purpose
    with pytest.raises(ClientError, match="params"):
        await db.connect(connector, params={"at": object()})


async def test_a_bug_in_the_download_side_does_not_leave_it_standing(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = SyncLoop.run
    runs: list[SyncLoop] = []

    async def run(self: SyncLoop) -> None:
        runs.append(self)
        if len(runs) == 1:
            raise ZeroDivisionError
        await original(self)

    monkeypatch.setattr(SyncLoop, "run", run)
    service.lines = WHOLE
    errors: list[Exception | None] = []
    db.register_listener(lambda status: errors.append(status.download_error))
    await db.connect(connector, retry_delay_s=FAST_S)
    await eventually(lambda: any(isinstance(error, ZeroDivisionError) for error in errors))
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)
    assert len(runs) == 2


async def test_a_transport_without_keepalive_lines_still_renews_and_drops_subscriptions(db: SyncDatabase) -> None:
    transport = Doubtful(lines=[text(line) for line in WHOLE])
    handle = await db.sync_stream("list").subscribe(ttl=0)
    limits = ConnectionLimits(keepalive_s=0.05)
    await db.connect(Fixed("http://x"), transport=transport, limits=limits, retry_delay_s=FAST_S)
    await db.wait_for_first_sync(timeout=DEADLINE_S)
    assert transport.opened == 1
    handle.unsubscribe()
    await db.wait_for_status(lambda s: s.for_stream("list") is None, DEADLINE_S)
    await eventually(lambda: transport.opened == 2)


@pytest.mark.requirement(71)
async def test_a_silent_stream_is_not_trusted_when_the_network_has_changed(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.lines = WHOLE
    await db.connect(connector, retry_delay_s=FAST_S)
    await db.wait_for_status(lambda s: s.state is SyncState.SYNCED, DEADLINE_S)
    service.lines = [WHOLE[0], complete(2)]  # all data are here
    db.notify_online()  # a line has come just now: all is well
    await db.sync_stream("list").subscribe()  # a later command: the one before was obeyed
    await eventually(lambda: len(service.requests) == 2)
    assert db.current_status.download_error is None
    monkeypatch.setattr("syncline.client.sync_loop.LATE_LINE_S", 0.0)
    db.notify_online()
    await eventually(lambda: len(service.requests) == 3)


@pytest.mark.requirement(71)
async def test_the_network_is_back_and_nothing_waits_any_longer(
    db: SyncDatabase, service: ScriptedService, connector: HttpConnector
) -> None:
    db.notify_online()  # harmless without a connection
    service.lines, service.refuse, service.upload_answers = WHOLE, [503, 503], [(503, "busy")]
    await write(db, "a")
    await db.connect(connector, retry_delay_s=60)
    await db.wait_for_status(lambda s: s.download_error is not None and s.upload_error is not None, DEADLINE_S)
    db.notify_online()
    await eventually(lambda: len(service.requests) == 2 and len(service.uploads) == 2)
    await db.wait_for_status(lambda s: s.retries == 2, DEADLINE_S)
    db.notify_online()
    await eventually(lambda: service.open_streams == 1)
