from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from syncline.client.core.status import FULL_SYNC_PRIORITY, BlockedBy, PriorityStatus, Progress, Role, SyncStatus
from syncline.client.errors import ConnectionFailed
from syncline.client.status_board import StatusBoard, StatusGate

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def synced(at: datetime) -> SyncStatus:
    return SyncStatus(has_synced=True, priorities=(PriorityStatus(FULL_SYNC_PRIORITY, at),))


@pytest.mark.requirement(251)
def test_the_time_of_the_last_sync_never_goes_back_and_is_kept_by_other_news() -> None:
    board = StatusBoard()
    board.publish_download(synced(NOON))
    board.publish_upload(uploading=True, error=None)
    board.publish_stalled(ConnectionFailed("x"))
    board.publish_pending_changes(3)
    assert board.current.last_synced_at == NOON
    board.publish_download(synced(NOON - timedelta(hours=2)))  # the device's clock was set back
    assert board.current.last_synced_at == NOON
    board.publish_download(synced(NOON + timedelta(seconds=1)))
    assert board.current.last_synced_at == NOON + timedelta(seconds=1)
    board.publish_disconnected()
    assert board.current.last_synced_at == NOON + timedelta(seconds=1)


@pytest.mark.requirement(251)
def test_clearing_forgets_the_time_of_the_last_sync() -> None:
    board = StatusBoard()
    board.publish_download(synced(NOON))
    board.publish_download(SyncStatus(has_synced=False))
    assert board.current.last_synced_at is None
    board.publish_download(synced(NOON - timedelta(hours=2)))
    assert board.current.last_synced_at == NOON - timedelta(hours=2)


def test_each_side_writes_its_own_fields() -> None:
    board = StatusBoard()
    error = ConnectionFailed("x")
    board.publish_upload(uploading=True, error=error)
    board.publish_pending_changes(3)
    board.publish_download(SyncStatus(connected=True, uploading=False, pending_changes=9))
    current = board.current
    assert (current.connected, current.uploading, current.upload_error, current.pending_changes) == (
        True,
        True,
        error,
        3,
    )


def test_an_open_transaction_is_the_reason_before_any_other() -> None:
    board = StatusBoard()
    board.publish_download(SyncStatus(connected=True, blocked_by=BlockedBy.PENDING_UPLOADS))
    board.publish_open_transaction(True)
    assert board.current.blocked_by == "open transaction"
    board.publish_download(SyncStatus(connected=True, blocked_by=BlockedBy.WRITE_CHECKPOINT))
    assert board.current.blocked_by == "open transaction"
    board.publish_open_transaction(False)
    assert board.current.blocked_by == "write_checkpoint"
    board.publish_open_transaction(True)
    board.publish_download(board.current)
    board.publish_open_transaction(False)
    assert board.current.blocked_by is None


def test_what_holds_the_owner_back_is_a_peers_reason_until_it_takes_over() -> None:
    board = StatusBoard()
    board.publish_role(Role.PEER)
    board.publish_shown({"connected": True}, blocked_by=BlockedBy.WRITE_CHECKPOINT)
    assert (board.current.connected, board.current.blocked_by) == (True, "write_checkpoint")
    board.publish_open_transaction(True)
    assert board.current.blocked_by == "open transaction"
    board.publish_open_transaction(False)
    board.publish_download(SyncStatus(connected=True))  # what a peer reads from the file knows no reason
    assert board.current.blocked_by == "write_checkpoint"
    board.publish_role(Role.OWNER)
    assert board.current.blocked_by is None
    board.publish_role(Role.PEER)
    board.publish_shown({}, blocked_by=BlockedBy.OPEN_TRANSACTION)
    board.publish_disconnected()
    assert board.current.blocked_by is None


@pytest.mark.requirement(74)
async def test_listeners_hear_of_each_change_until_they_are_disposed(caplog: pytest.LogCaptureFixture) -> None:
    board = StatusBoard()
    heard: list[int | None] = []

    def fail(_: SyncStatus) -> None:
        raise RuntimeError

    board.listen(fail)
    dispose = board.listen(lambda status: heard.append(status.pending_changes))
    for count in (1, 1, 2):
        board.publish_pending_changes(count)
    dispose()
    dispose()
    board.publish_pending_changes(3)
    assert heard == [1, 2]
    assert "status_listener_failed" in [getattr(record, "event", "") for record in caplog.records]


def test_a_listener_that_publishes_leaves_nobody_with_an_older_status() -> None:
    board = StatusBoard()
    heard: list[tuple[bool, int | None]] = []

    def react(status: SyncStatus) -> None:
        if status.connected:
            board.publish_pending_changes(5)

    board.listen(react)
    board.listen(lambda status: heard.append((status.connected, status.pending_changes)))
    board.publish_download(SyncStatus(connected=True))
    assert heard == [(True, 5)]


async def test_waiting_sees_a_status_that_is_replaced_at_once() -> None:
    board = StatusBoard()

    async def both() -> None:
        board.publish_pending_changes(1)
        board.publish_pending_changes(2)

    waiting = asyncio.create_task(board.wait_for(lambda status: status.pending_changes == 1, timeout_s=5))
    await asyncio.sleep(0)
    await both()
    assert (await waiting).pending_changes == 1
    with pytest.raises(TimeoutError):
        await board.wait_for(lambda status: status.pending_changes == 1, timeout_s=0.01)
    with pytest.raises(ZeroDivisionError):
        await board.wait_for(lambda _: bool(1 / 0), timeout_s=1)


@pytest.mark.requirement(250)
def test_nothing_that_is_left_of_a_connection_can_publish_after_its_end() -> None:
    board = StatusBoard()
    gate = StatusGate(board)
    gate.publish_download(SyncStatus(connected=True, progress=Progress(), download_error=ConnectionFailed("x")))
    gate.publish_upload(uploading=True, error=ConnectionFailed("x"))
    gate.publish_stalled(ConnectionFailed("x"))
    assert gate.current.connected
    gate.close()
    assert board.current == SyncStatus(has_synced=None)
    gate.publish_download(SyncStatus(connected=True))
    gate.publish_upload(uploading=True, error=None)
    gate.publish_stalled(ConnectionFailed("x"))
    assert board.current == SyncStatus(has_synced=None)
