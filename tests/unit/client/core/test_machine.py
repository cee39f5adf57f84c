from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.checkpoint import Applied, ApplyResult, Blocked, Mismatch
from syncline.client.core.machine import TOKEN_PREFETCH_S, SyncMachine
from syncline.client.core.subscriptions import LocalSubscription
from syncline.client.errors import AuthFailed, ChecksumMismatch
from syncline.errors import RemoteProtocolError
from syncline.protocol.lines import decode_line
from syncline.protocol.requests import BucketPosition

GOLDENS = sorted((Path(__file__).parent / "goldens").glob("*.json"))
RESULTS: dict[str, ApplyResult] = {
    "applied": Applied(),
    "blocked": Blocked("pending_uploads"),
    "mismatch": Mismatch(["1#a[]"]),
}
CHECKPOINT = {"checkpoint": {"last_op_id": "5", "buckets": [{"bucket": "1#a[]", "checksum": 1, "count": 2}]}}
COMPLETE = {"checkpoint_complete": {"last_op_id": "5"}}


def line(value: Any) -> ev.LineReceived:
    return ev.LineReceived(decode_line(json.dumps(value)), 100)


def event_of(value: dict[str, Any]) -> ev.Event:
    """An event from its JSON form: one key, the name."""
    [(name, content)] = value.items()
    match name:
        case "started":
            return ev.Started(tuple(BucketPosition(*position) for position in content))
        case "opened":
            return ev.ConnectionOpened()
        case "line":
            return line(content)
        case "applied":
            return ev.CheckpointApplied(RESULTS[content[0]], content[1])
        case "upload_finished":
            return ev.UploadFinished(content)
        case "ended":
            return ev.StreamEnded()
        case "stopped":
            return ev.Stopped()
        case _:
            raise AssertionError(name)


def told(instruction: do.Instruction) -> Any:
    """The JSON form of an instruction; of a status, the flags only."""
    name = type(instruction).__name__
    match instruction:
        case do.PublishStatus(status):
            flags = ("connected", "connecting", "downloading")
            return [name, [flag for flag in flags if getattr(status, flag)], status.blocked_by]
        case do.OpenStream(request):
            return [name, [[position.name, position.after] for position in request.buckets]]
        case do.StoreOps(batch, line_bytes):
            return [name, batch.bucket, len(batch.data), line_bytes]
        case do.ApplyCheckpoint(checkpoint, priority):
            return [name, checkpoint.last_op_id, checkpoint.write_checkpoint, sorted(checkpoint.buckets), priority]
        case do.CloseStream():
            error = type(instruction.error).__name__ if instruction.error else None
            return [name, instruction.hide_disconnect, instruction.reconnect_now, error]
        case _:
            return [name, *msgspec.to_builtins(instruction).values()]


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_a_recorded_conversation_goes_as_recorded(path: Path) -> None:
    machine = SyncMachine(client_id="c")
    for number, step in enumerate(json.loads(path.read_text())):
        done = machine.receive(event_of(step["event"]))
        instructions = json.loads(json.dumps([told(instruction) for instruction in done]))
        assert instructions == step["instructions"], f"step {number}"


def running(*lines: Any, rows: tuple[LocalSubscription, ...] = ()) -> SyncMachine:
    machine = SyncMachine(client_id="c")
    machine.receive(ev.Started((BucketPosition("1#old[]", "3"),), subscriptions=rows))
    machine.receive(ev.ConnectionOpened())
    for value in lines:
        machine.receive(line(value))
    return machine


def only(instructions: list[do.Instruction], kind: type[Any]) -> list[Any]:
    return [instruction for instruction in instructions if isinstance(instruction, kind)]


@pytest.mark.parametrize(
    "value",
    [
        {"checkpoint_diff": {"last_op_id": "5", "removed_buckets": [], "updated_buckets": []}},
        COMPLETE,
        {"partial_checkpoint_complete": {"last_op_id": "5", "priority": 1}},
    ],
)
def test_anything_that_needs_a_checkpoint_before_the_checkpoint_is_a_protocol_error(value: Any) -> None:
    [close] = only(running().receive(line(value)), do.CloseStream)
    assert isinstance(close.error, RemoteProtocolError)


@pytest.mark.parametrize("number", ["", "x", "-1", "1.0", "9223372036854775808", "9" * 5000])
@pytest.mark.parametrize("field", ["last_op_id", "write_checkpoint"])
def test_numbers_that_a_device_cannot_hold_are_a_protocol_error(field: str, number: str) -> None:
    diff: dict[str, Any] = {"last_op_id": "6", "removed_buckets": [], "updated_buckets": [], field: number}
    full: dict[str, Any] = {**CHECKPOINT["checkpoint"], field: number}
    values: list[dict[str, Any]] = [{"checkpoint": full}, {"checkpoint_diff": diff}]
    for value in values:
        [close] = only(running(CHECKPOINT).receive(line(value)), do.CloseStream)
        assert isinstance(close.error, RemoteProtocolError)
        assert field in str(close.error)


def test_unknown_lines_are_ignored() -> None:
    machine = running(CHECKPOINT)
    assert machine.receive(line({"new_in_2030": {"x": 1}})) == []


def test_a_diff_without_a_write_checkpoint_clears_it() -> None:
    first = {"checkpoint": {**CHECKPOINT["checkpoint"], "write_checkpoint": "7"}}
    machine = running(first)
    assert only(machine.receive(line(COMPLETE)), do.ApplyCheckpoint)[0].checkpoint.write_checkpoint == 7
    machine.receive(line({"checkpoint_diff": {"last_op_id": "6", "removed_buckets": [], "updated_buckets": []}}))
    assert only(machine.receive(line(COMPLETE)), do.ApplyCheckpoint)[0].checkpoint.write_checkpoint is None


@pytest.mark.parametrize(("seconds", "fetches"), [(TOKEN_PREFETCH_S + 1, 0), (TOKEN_PREFETCH_S, 1), (1, 1)])
def test_a_keepalive_fetches_ahead_once_and_looks_at_the_queue(seconds: int, fetches: int) -> None:
    machine = running(CHECKPOINT)
    first = machine.receive(line({"token_expires_in": seconds}))
    assert only(first, do.FetchCredentials) == [do.FetchCredentials(expired=False)] * fetches
    assert only(first, do.TriggerUpload)
    assert only(first, do.RefreshSubscriptions)
    assert only(machine.receive(line({"token_expires_in": seconds})), do.FetchCredentials) == []


def test_an_expired_token_ends_the_stream_and_is_replaced_at_once() -> None:
    instructions = running(CHECKPOINT).receive(line({"token_expires_in": 0}))
    assert only(instructions, do.FetchCredentials) == [do.FetchCredentials(expired=True)]
    assert only(instructions, do.CloseStream)[0].reconnect_now


def test_a_blocked_checkpoint_is_applied_when_its_write_checkpoint_is_reached() -> None:
    machine = running({"checkpoint": {**CHECKPOINT["checkpoint"], "write_checkpoint": "7"}}, COMPLETE)
    machine.receive(ev.CheckpointApplied(Blocked("write_checkpoint"), None))
    assert only(machine.receive(ev.UploadFinished(8)), do.ApplyCheckpoint) == []
    assert only(machine.receive(ev.UploadFinished(7)), do.ApplyCheckpoint)
    assert only(machine.receive(ev.UploadFinished(7)), do.ApplyCheckpoint) == []


def test_a_newer_checkpoint_discards_the_blocked_one() -> None:
    machine = running(CHECKPOINT, COMPLETE)
    machine.receive(ev.CheckpointApplied(Blocked("pending_uploads"), None))
    machine.receive(line(CHECKPOINT))
    assert machine.receive(ev.UploadFinished(None)) == []


def test_a_write_checkpoint_seen_in_an_earlier_checkpoint_still_opens_the_gate() -> None:
    machine = running(CHECKPOINT, COMPLETE)  # names no write checkpoint
    machine.receive(ev.CheckpointApplied(Blocked("pending_uploads"), None))
    assert only(machine.receive(ev.UploadFinished(7, 6)), do.ApplyCheckpoint) == []
    assert only(machine.receive(ev.UploadFinished(7, 7)), do.ApplyCheckpoint)


def test_the_status_says_that_a_write_checkpoint_is_awaited_before_any_checkpoint_is_blocked() -> None:
    machine = running()
    [published] = only(machine.receive(ev.UploadFinished(7, None)), do.PublishStatus)
    assert published.status.blocked_by == "write_checkpoint"


def test_another_client_id_reopens_the_stream_and_is_in_the_next_request() -> None:
    machine = running(CHECKPOINT)
    assert machine.receive(ev.ClientIdChanged("d")) == [do.CloseStream(hide_disconnect=True, reconnect_now=True)]
    assert machine.receive(line(COMPLETE)) == []  # of the old id
    [opened] = only(machine.receive(ev.Started()), do.OpenStream)
    assert opened.request.client_id == "d"


def test_wrong_checksums_end_the_stream_and_name_the_buckets() -> None:
    machine = running(CHECKPOINT, COMPLETE)
    [close] = only(machine.receive(ev.CheckpointApplied(Mismatch(["1#a[]"]), None)), do.CloseStream)
    assert isinstance(close.error, ChecksumMismatch)
    assert close.error.buckets == ["1#a[]"]
    assert (close.reconnect_now, close.hide_disconnect) == (False, False)


def test_changed_subscriptions_reconnect_without_a_change_of_status() -> None:
    machine = running(CHECKPOINT)
    row = LocalSubscription(1, "list", ttl_s=60)
    assert only(machine.receive(ev.SubscriptionsChanged((row,))), do.CloseStream) == [do.CloseStream(True, True)]
    assert only(running(CHECKPOINT, rows=(row,)).receive(ev.SubscriptionsChanged((row,))), do.CloseStream) == []


def test_only_the_first_refused_token_in_a_row_is_replaced_at_once() -> None:
    machine = SyncMachine(client_id="c")
    found: list[bool] = []
    for _ in range(2):
        machine.receive(ev.Started())
        failed = machine.receive(ev.StreamFailed(AuthFailed("no", status_code=401)))
        found.append(only(failed, do.CloseStream)[0].reconnect_now)
    assert found == [True, False]
