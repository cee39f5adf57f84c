"""How one stream follows another: delays, errors in the status, tokens, and what survives from one to the next."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.checkpoint import Applied, Blocked, Mismatch
from syncline.client.core.machine import SyncMachine
from syncline.client.core.retry import RetryDelays
from syncline.client.core.status import SyncState, SyncStatus
from syncline.client.core.subscriptions import LocalSubscription
from syncline.client.errors import AuthFailed, ChecksumMismatch, ConnectionFailed, ServiceError
from tests.unit.client.core.test_machine import CHECKPOINT, COMPLETE, line, only

EXPIRED = AuthFailed("no", status_code=401)


class Driven:
    """A machine, with the newest status and the last closing that it asked for."""

    def __init__(self) -> None:
        self.machine = SyncMachine(client_id="c", retry=RetryDelays(1, 4))
        self.status = SyncStatus()
        self.closed: do.CloseStream | None = None

    def hear(self, *events: ev.Event) -> list[do.Instruction]:
        found: list[do.Instruction] = []
        for event in events:
            found += self.machine.receive(event)
        for instruction in found:
            if isinstance(instruction, do.PublishStatus):
                self.status = instruction.status
            elif isinstance(instruction, do.CloseStream):
                self.closed = instruction
        return found

    def open(self, *lines: Any, **started: Any) -> None:
        self.hear(ev.Started(**started), ev.ConnectionOpened(), *(line(value) for value in lines))

    def delay_s(self) -> float:
        assert self.closed is not None
        return self.closed.delay_s


def with_write_checkpoint(number: int) -> dict[str, Any]:
    return {"checkpoint": {**CHECKPOINT["checkpoint"], "write_checkpoint": str(number)}}


@pytest.mark.requirement(10)
def test_failures_in_a_row_wait_longer_and_a_complete_checkpoint_ends_the_row() -> None:
    driven = Driven()
    delays: list[float] = []
    for _ in range(4):
        driven.hear(ev.Started(), ev.StreamFailed(ConnectionFailed("x")))
        delays.append(driven.delay_s())
    assert delays == [1, 2, 4, 4]
    assert driven.status.retries == 4
    driven.open(CHECKPOINT, COMPLETE)
    driven.hear(ev.CheckpointApplied(Applied(), None))
    assert (driven.status.retries, driven.status.download_error) == (0, None)
    driven.hear(ev.StreamFailed(ConnectionFailed("x")))
    assert driven.delay_s() == 1


def test_a_stream_that_breaks_before_each_complete_checkpoint_waits_longer_too() -> None:
    driven = Driven()
    delays: list[float] = []
    for _ in range(3):
        driven.open(CHECKPOINT)
        driven.hear(ev.StreamFailed(ConnectionFailed("x")))
        delays.append(driven.delay_s())
    assert delays == [1, 2, 4]


def test_streams_that_end_before_their_first_line_wait_longer() -> None:
    driven = Driven()
    delays: list[float] = []
    for _ in range(3):
        driven.open()
        driven.hear(ev.StreamEnded())
        delays.append(driven.delay_s())
    assert delays == [1, 2, 4]


def test_wrong_checksums_wait_longer_each_time_until_one_is_right() -> None:
    driven = Driven()
    delays: list[float] = []
    for _ in range(6):
        driven.open(CHECKPOINT, COMPLETE)
        driven.hear(ev.CheckpointApplied(Mismatch(["1#a[]"]), None))
        delays.append(driven.delay_s())
    assert delays == [1, 2, 4, 8, 16, 32]
    assert isinstance(driven.status.download_error, ChecksumMismatch)
    assert "1#a[]" in str(driven.status.download_error)
    driven.open(CHECKPOINT, COMPLETE)
    assert driven.status.download_error is not None  # still the last that is known
    driven.hear(ev.CheckpointApplied(Applied(), None))
    assert driven.status.download_error is None
    driven.hear(ev.CheckpointApplied(Mismatch(["1#a[]"]), 1))
    assert driven.delay_s() == 1


def test_the_services_own_wish_is_the_delay() -> None:
    driven = Driven()
    driven.hear(ev.Started(), ev.StreamFailed(ServiceError("busy", status_code=503, retry_after_s=17)))
    assert driven.delay_s() == 17


@pytest.mark.requirement(5)
def test_a_token_that_has_run_out_is_no_error_before_its_replacement_is_refused() -> None:
    driven = Driven()
    driven.hear(ev.Started(), ev.StreamFailed(EXPIRED))
    assert driven.status.download_error is None
    assert driven.closed == do.CloseStream(reconnect_now=True, error=EXPIRED)
    driven.hear(ev.Started(), ev.StreamFailed(EXPIRED))
    assert driven.status.download_error is EXPIRED
    assert driven.status.state is SyncState.ERROR


@pytest.mark.requirement(5)
def test_a_token_that_could_not_be_fetched_ahead_is_asked_for_again_by_the_next_keepalive() -> None:
    driven = Driven()
    driven.open(CHECKPOINT)
    near = line({"token_expires_in": 20})
    assert only(driven.hear(near), do.FetchCredentials)
    assert not only(driven.hear(near), do.FetchCredentials)
    assert driven.hear(ev.TokenPrefetchFailed()) == []
    assert only(driven.hear(near), do.FetchCredentials) == [do.FetchCredentials(expired=False)]
    driven.hear(ev.TokenRefreshed())
    assert driven.closed == do.CloseStream(hide_disconnect=True, reconnect_now=True)
    assert driven.status.connected


def test_tokens_that_live_shorter_than_the_prefetch_make_no_hot_loop() -> None:
    driven = Driven()
    driven.open(CHECKPOINT)
    assert only(driven.hear(line({"token_expires_in": 12})), do.FetchCredentials)
    driven.hear(ev.TokenRefreshed())
    driven.open(CHECKPOINT)
    fetched = {
        seconds: bool(only(driven.hear(line({"token_expires_in": seconds})), do.FetchCredentials))
        for seconds in (12, 7, 6, 3)
    }
    assert fetched == {12: False, 7: False, 6: True, 3: False}, "once, at half of its life"
    driven.hear(ev.TokenRefreshed())
    driven.open(CHECKPOINT)
    assert not only(driven.hear(line({"token_expires_in": 3600})), do.FetchCredentials)
    assert only(driven.hear(line({"token_expires_in": 30})), do.FetchCredentials), "a longer one as before"


def test_a_connector_that_hands_out_its_expired_token_again_makes_no_hot_loop() -> None:
    driven = Driven()
    now: list[bool] = []
    for _ in range(3):
        driven.open(CHECKPOINT, {"token_expires_in": 0})
        assert driven.closed is not None
        now.append(driven.closed.reconnect_now)
    assert now == [True, False, False]
    driven.open(CHECKPOINT, {"token_expires_in": 20}, {"token_expires_in": 0})
    assert driven.closed == do.CloseStream(reconnect_now=True)


def test_another_request_changes_nothing_that_the_app_sees_before_its_first_line() -> None:
    driven = Driven()
    driven.open(CHECKPOINT, COMPLETE)
    driven.hear(ev.CheckpointApplied(Blocked("write_checkpoint"), None))
    before = driven.status
    driven.hear(ev.TokenRefreshed(), ev.Started())
    assert (driven.status.connected, driven.status.connecting) == (True, False)
    assert driven.status.blocked_by == before.blocked_by == "write_checkpoint"
    assert driven.status.progress == before.progress is not None


def test_a_connection_is_in_sync_only_when_its_own_checkpoint_is_visible() -> None:
    driven = Driven()
    driven.open(sync_state=((2**31 - 1, 5),))
    assert driven.status.has_synced
    assert driven.status.state is SyncState.SYNCING  # in an earlier run: nobody knows what has changed since
    driven.hear(line(CHECKPOINT), line(COMPLETE), ev.CheckpointApplied(Applied(), None))
    assert driven.status.state is SyncState.SYNCED
    driven.hear(ev.StreamEnded())
    assert not driven.status.caught_up


def test_disconnecting_leaves_no_error_and_no_progress() -> None:
    driven = Driven()
    driven.hear(ev.Started(), ev.StreamFailed(ConnectionFailed("x")))
    driven.open(CHECKPOINT)
    driven.hear(ev.Stopped())
    assert driven.status == SyncStatus(has_synced=False)


def test_the_newest_write_checkpoint_counts_as_applied_with_the_checkpoint_that_is_visible() -> None:
    driven = Driven()
    driven.open(with_write_checkpoint(7), COMPLETE)
    driven.hear(ev.CheckpointApplied(Blocked("pending_uploads"), None))
    assert driven.status.applied_write_checkpoint is None
    # The next one names none (a newer request is under way): what it contains has not become less.
    driven.hear(line(CHECKPOINT), line(COMPLETE), ev.CheckpointApplied(Applied(), None))
    assert driven.status.applied_write_checkpoint == 7
    driven.hear(line(with_write_checkpoint(9)), line(COMPLETE))
    assert driven.status.applied_write_checkpoint == 7
    driven.hear(ev.CheckpointApplied(Applied(), None))
    assert driven.status.applied_write_checkpoint == 9
    driven.hear(ev.StreamEnded(), ev.Started())
    assert driven.status.applied_write_checkpoint is None


def test_a_partial_checkpoint_does_not_count_as_applied() -> None:
    driven = Driven()
    driven.open(with_write_checkpoint(7))
    driven.hear(ev.CheckpointApplied(Applied(), 1))
    assert driven.status.applied_write_checkpoint is None
    assert not driven.status.caught_up


def test_a_transport_without_keepalive_lines_is_looked_after_all_the_same() -> None:
    driven = Driven()
    driven.open(CHECKPOINT)
    assert driven.hear(ev.TimePassed()) == [do.RefreshSubscriptions(), do.TriggerUpload()]
    driven.hear(ev.StreamEnded())
    assert driven.hear(ev.TimePassed()) == []


def test_a_subscription_made_while_a_stream_is_being_opened_reopens_it() -> None:
    driven = Driven()
    driven.hear(ev.Started())
    row = LocalSubscription(1, "list", ttl_s=60)
    assert only(driven.hear(ev.SubscriptionsChanged((row,))), do.CloseStream) == [do.CloseStream(True, True)]
    [opened] = only(driven.hear(ev.Started(subscriptions=(row,))), do.OpenStream)
    assert [entry.stream for entry in opened.request.streams.subscriptions] == ["list"]
    assert not only(driven.hear(ev.SubscriptionsChanged((row,))), do.CloseStream)


def test_streams_show_their_priority_and_their_part_of_the_download() -> None:
    rows = (LocalSubscription(1, "list", ttl_s=60), LocalSubscription(2, "all", is_default=True, active=True))
    buckets = [
        {"bucket": "1#l[]", "checksum": 0, "count": 4, "priority": 1, "subscriptions": [{"sub": 0}]},
        {"bucket": "1#a[]", "checksum": 0, "count": 6, "priority": 3, "subscriptions": [{"default": 0}, {"sub": 0}]},
        {"bucket": "1#x[]", "checksum": 0, "count": 9, "subscriptions": [{"sub": 7}, {"default": 7}]},
    ]
    streams: list[dict[str, Any]] = [{"name": "all", "is_default": True, "errors": []}]
    driven = Driven()
    driven.open({"checkpoint": {"last_op_id": "9", "buckets": buckets, "streams": streams}}, subscriptions=rows)
    op = {"op_id": "4", "op": "PUT", "checksum": 1, "object_type": "t", "object_id": "x", "subkey": "k", "data": "{}"}
    driven.hear(line({"data": {"bucket": "1#l[]", "data": [op, {**op, "op_id": "5"}]}}))
    shown = [(stream.name, stream.priority, stream.progress) for stream in driven.status.streams]
    assert [(name, priority) for name, priority, _ in shown] == [("list", 3), ("all", 3)]
    assert [(p.downloaded, p.total) for _, _, p in shown if p is not None] == [(2, 10), (0, 6)]
    # A default stream gets its row in the file only now: its buckets are known all the same.
    driven.hear(ev.SubscriptionsChanged((*rows, LocalSubscription(3, "late"))))
    assert [stream.progress is None for stream in driven.status.streams] == [False, False, True]
    driven.hear(line({"checkpoint_complete": {"last_op_id": "9"}}), ev.CheckpointApplied(Applied(), None))
    assert [stream.progress for stream in driven.status.streams] == [None, None, None]


def test_a_wide_stream_is_synced_when_its_least_urgent_bucket_is() -> None:
    row = LocalSubscription(1, "list", ttl_s=60, active=True)
    buckets = [
        {"bucket": f"1#{p}[]", "checksum": 0, "count": 1, "priority": p, "subscriptions": [{"sub": 0}]} for p in (0, 2)
    ]
    driven = Driven()
    streams: list[dict[str, Any]] = [{"name": "list", "is_default": False, "errors": []}]
    driven.open({"checkpoint": {"last_op_id": "9", "buckets": buckets, "streams": streams}}, subscriptions=(row,))
    assert only(driven.hear(ev.CheckpointApplied(Applied(), 1)), do.MarkStreamsSynced) == []
    assert only(driven.hear(ev.CheckpointApplied(Applied(), 2)), do.MarkStreamsSynced) == [do.MarkStreamsSynced((1,))]
