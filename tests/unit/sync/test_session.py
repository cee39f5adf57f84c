from __future__ import annotations

from collections.abc import Mapping

from syncline.protocol.lines import (
    Checkpoint,
    CheckpointComplete,
    CheckpointDiff,
    PartialCheckpointComplete,
    SubscriptionReason,
    TokenExpiresIn,
)
from syncline.protocol.ops import OpType
from syncline.storage.model import BucketTotals, OpChunk, OpRow
from syncline.sync.session import (
    Changed,
    ChunksRead,
    End,
    Instruction,
    ReadChunks,
    ReadView,
    SendChunk,
    SendLine,
    Span,
    SyncSession,
    Tick,
    VersionEnded,
    ViewRead,
)
from syncline.sync_config.plan import ResolvedBucket, ResolvedBuckets

NOW_S = 1_800_000_000.0


def session(
    *, positions: Mapping[str, int] | None = None, expires_in_s: float = 3600, keepalives: bool = True
) -> SyncSession:
    return SyncSession(positions=positions or {}, expires_at_s=NOW_S + expires_in_s, now_s=NOW_S, keepalives=keepalives)


def view(op_id: int, buckets: Mapping[str, tuple[int, int]], *, write_checkpoint: int | None = None) -> ViewRead:
    """`buckets`: name -> (priority, last op)."""
    resolved = ResolvedBuckets(
        streams=(),
        buckets=tuple(
            ResolvedBucket(name, priority, (SubscriptionReason(default=0),)) for name, (priority, _) in buckets.items()
        ),
        lookups=frozenset(),
    )
    totals = {name: total(op) for name, (_, op) in buckets.items() if op}
    return ViewRead(op_id, resolved, totals, write_checkpoint)


def total(op: int) -> BucketTotals:
    return BucketTotals(op, op * 1000, op)


def chunk(bucket: str, after: int, upto: int, *, has_more: bool = False, target_op: int | None = None) -> OpChunk:
    ops = [OpRow(op, OpType.PUT, "t", str(op), 1, "k", "{}", target_op) for op in range(after + 1, upto + 1)]
    return OpChunk(bucket, after, upto, has_more, ops)


def kinds(instructions: list[Instruction]) -> list[str]:
    return [
        type(instruction.line).__name__ if isinstance(instruction, SendLine) else type(instruction).__name__
        for instruction in instructions
    ]


def wanted(instruction: Instruction) -> tuple[list[tuple[str, int]], int]:
    """Positions and checkpoint of a reading."""
    assert isinstance(instruction, ReadChunks)
    return instruction.positions, instruction.checkpoint_op


def spans(instruction: Instruction) -> tuple[Span, ...]:
    assert isinstance(instruction, ReadChunks)
    return instruction.spans


def test_a_checkpoint_without_data_is_completed_at_once() -> None:
    instructions = session().receive(view(10, {"a": (3, 0)}))
    assert kinds(instructions) == ["Checkpoint", "CheckpointComplete"]
    first = instructions[0]
    assert isinstance(first, SendLine)
    assert isinstance(first.line, Checkpoint)
    assert [(b.bucket, b.checksum, b.count) for b in first.line.buckets] == [("a", 0, 0)]


def test_data_goes_out_by_priority_with_partial_completes_between() -> None:
    machine = session()
    instructions = machine.receive(view(10, {"low": (3, 4), "high": (0, 2)}))
    assert kinds(instructions) == ["Checkpoint", "ReadChunks"]
    assert wanted(instructions[-1]) == ([("high", 0)], 10)
    instructions = machine.receive(ChunksRead([chunk("high", 0, 2)]))
    assert instructions[1] == SendLine(PartialCheckpointComplete("10", 0))
    assert wanted(instructions[2]) == ([("low", 0)], 10)
    instructions = machine.receive(ChunksRead([chunk("low", 0, 4)]))
    assert instructions[1:] == [SendLine(CheckpointComplete("10"))]


def test_a_bucket_that_was_cut_is_read_on_from_where_it_was_cut() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 8)}))
    instructions = machine.receive(ChunksRead([chunk("a", 0, 5, has_more=True)]))
    assert kinds(instructions) == ["SendChunk", "ReadChunks"]
    assert wanted(instructions[-1]) == ([("a", 5)], 10)


def test_a_client_that_has_everything_gets_only_the_complete_line() -> None:
    instructions = session(positions={"a": 9, "gone": 4}).receive(view(10, {"a": (3, 8), "b": (1, 0)}))
    assert kinds(instructions) == ["Checkpoint", "PartialCheckpointComplete", "CheckpointComplete"]


def test_a_change_of_another_connection_s_bucket_sends_nothing() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 0)}))
    assert machine.receive(Changed(11, {"other": total(11)})) == []


def test_a_changed_bucket_gives_a_diff_its_data_and_a_complete_line() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 0), "b": (3, 0)}))
    instructions = machine.receive(Changed(12, {"a": total(12)}))
    assert kinds(instructions) == ["CheckpointDiff", "ReadChunks"]
    line = instructions[0]
    assert isinstance(line, SendLine)
    assert isinstance(line.line, CheckpointDiff)
    assert [bucket.bucket for bucket in line.line.updated_buckets] == ["a"]
    assert line.line.removed_buckets == []
    assert machine.receive(ChunksRead([chunk("a", 0, 12)]))[-1] == SendLine(CheckpointComplete("12"))


def test_the_write_checkpoint_triggers_a_diff_of_its_own_and_is_repeated_on_each_later_one() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 0)}))
    instructions = machine.receive(Changed(10, write_checkpoint=7))
    assert instructions == [SendLine(CheckpointDiff("10", [], [], "7")), SendLine(CheckpointComplete("10"))]
    later = machine.receive(Changed(12, {"a": total(12)}))[0]
    assert isinstance(later, SendLine)
    assert isinstance(later.line, CheckpointDiff)
    assert later.line.write_checkpoint == "7"


def test_changed_lookups_make_the_session_read_its_buckets_again() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 0), "b": (3, 5)}))
    machine.receive(ChunksRead([chunk("b", 0, 5)]))
    assert machine.receive(Changed(12, lookups_changed=True)) == [ReadView()]
    instructions = machine.receive(view(12, {"a": (3, 0), "c": (3, 0)}))
    line = instructions[0]
    assert isinstance(line, SendLine)
    assert isinstance(line.line, CheckpointDiff)
    assert line.line.removed_buckets == ["b"]
    assert [bucket.bucket for bucket in line.line.updated_buckets] == ["c"]


def test_a_bucket_that_comes_back_is_sent_from_the_start() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 5)}))
    machine.receive(ChunksRead([chunk("a", 0, 5)]))
    machine.receive(Changed(11, lookups_changed=True))
    machine.receive(view(11, {}))
    machine.receive(Changed(12, lookups_changed=True))
    assert wanted(machine.receive(view(12, {"a": (3, 5)}))[-1]) == ([("a", 0)], 12)


def test_a_newer_checkpoint_takes_over_after_a_thousand_operations() -> None:
    machine = session()
    machine.receive(view(5000, {"a": (3, 5000)}))
    assert machine.receive(Changed(5001, {"a": total(5001)})) == []
    instructions = machine.receive(ChunksRead([chunk("a", 0, 1000, has_more=True)]))
    assert kinds(instructions) == ["SendChunk", "CheckpointDiff", "ReadChunks"]
    assert wanted(instructions[-1]) == ([("a", 1000)], 5001)


def test_an_interrupted_bucket_stays_to_be_fetched_although_the_diff_is_about_another() -> None:
    machine = session()
    machine.receive(view(5000, {"a": (3, 5000), "b": (1, 0)}))
    machine.receive(Changed(5001, {"b": total(5001)}))
    instructions = machine.receive(ChunksRead([chunk("a", 0, 1000, has_more=True)]))
    assert wanted(instructions[-1]) == ([("b", 0)], 5001)
    instructions = machine.receive(ChunksRead([chunk("b", 5000, 5001)]))
    assert wanted(instructions[-1]) == ([("a", 1000)], 5001)


def test_a_newer_checkpoint_without_news_for_the_client_leaves_it_at_the_one_that_it_was_told() -> None:
    machine = session()
    machine.receive(view(5000, {"a": (3, 1500)}))
    machine.receive(Changed(5001, {"other": total(5001)}))
    instructions = machine.receive(ChunksRead([chunk("a", 0, 1000, has_more=True)]))
    assert [wanted(each) for each in instructions[1:]] == [([("a", 1000)], 5000)]
    assert machine.receive(ChunksRead([chunk("a", 1000, 1500)]))[1:] == [SendLine(CheckpointComplete("5000"))]


def test_a_newer_checkpoint_waits_for_a_small_one_to_complete() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 10)}))
    machine.receive(Changed(11, {"a": total(11)}))
    instructions = machine.receive(ChunksRead([chunk("a", 0, 10)]))
    assert kinds(instructions) == ["SendChunk", "CheckpointComplete", "CheckpointDiff", "ReadChunks"]


def test_a_change_that_a_newer_reading_already_holds_sends_nothing() -> None:
    machine = session()
    machine.receive(view(20, {"a": (3, 0)}))
    assert machine.receive(Changed(15, {"a": total(15)}, lookups_changed=True)) == []


def test_a_write_checkpoint_that_comes_with_an_older_change_is_still_told() -> None:
    machine = session()
    machine.receive(view(20, {"a": (3, 0)}))
    assert kinds(machine.receive(Changed(15, write_checkpoint=3))) == ["CheckpointDiff", "CheckpointComplete"]


def test_the_complete_line_is_withheld_where_an_op_gave_way_to_one_beyond_the_checkpoint() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 10)}))
    instructions = machine.receive(ChunksRead([chunk("a", 0, 10, target_op=12)]))
    assert kinds(instructions) == ["SendChunk", "ReadView"]


def test_keepalives_tell_how_long_the_token_lives_then_warn_then_end_the_stream() -> None:
    machine = session(expires_in_s=45)
    machine.receive(view(10, {}))
    assert machine.next_tick_s == NOW_S + 20
    assert machine.receive(Tick(NOW_S + 20)) == [SendLine(TokenExpiresIn(25))]
    assert machine.next_tick_s == NOW_S + 25
    assert machine.receive(Tick(NOW_S + 25)) == [SendLine(TokenExpiresIn(20))]
    assert machine.receive(Tick(NOW_S + 45)) == [SendLine(TokenExpiresIn(0)), End("the token has expired")]


def test_without_keepalives_only_the_expiry_is_told() -> None:
    machine = session(expires_in_s=100, keepalives=False)
    machine.receive(view(10, {}))
    assert machine.next_tick_s == NOW_S + 80
    assert machine.receive(Tick(NOW_S + 30)) == []


def test_a_stream_ends_with_its_version_and_when_its_data_is_gone() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 5)}))
    assert kinds(machine.receive(ChunksRead([]))) == ["ReadView"]
    assert kinds(machine.receive(view(10, {"a": (3, 5)}))) == ["ReadChunks"]
    assert kinds(machine.receive(ChunksRead([]))) == ["End"]
    assert kinds(machine.receive(VersionEnded())) == ["End"]


def test_what_compaction_put_beyond_the_checkpoint_is_read_at_the_newest() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 10)}))
    assert kinds(machine.receive(ChunksRead([]))) == ["ReadView"]
    assert kinds(machine.receive(view(12, {"a": (3, 12)}))) == ["CheckpointDiff", "ReadChunks"]
    assert kinds(machine.receive(ChunksRead([chunk("a", 0, 12)]))) == ["SendChunk", "CheckpointComplete"]


def test_the_session_says_which_buckets_concern_it() -> None:
    machine = session()
    assert machine.bucket_names == frozenset()
    machine.receive(view(10, {"a": (3, 0)}))
    assert machine.bucket_names == {"a"}
    assert machine.lookups == frozenset()


def test_chunks_are_passed_on_as_they_are() -> None:
    machine = session()
    machine.receive(view(10, {"a": (3, 10)}))
    part = chunk("a", 0, 10)
    assert machine.receive(ChunksRead([part]))[0] == SendChunk(part)


def test_a_reading_says_how_far_each_bucket_goes_and_about_how_many_operations_it_lacks() -> None:
    machine = session(positions={"a": 4})
    instructions = machine.receive(view(10, {"a": (3, 8), "b": (3, 6)}))
    assert spans(instructions[-1]) == (Span("a", 4, 8, 4), Span("b", 0, 6, 6))
    instructions = machine.receive(ChunksRead([chunk("a", 4, 8), chunk("b", 0, 2, has_more=True)]))
    assert spans(instructions[-1]) == (Span("b", 2, 6, 4),)
    machine.receive(ChunksRead([chunk("b", 2, 6)]))
    one_more = BucketTotals(5000, 8001, 9)  # one op more, far above the last
    assert spans(machine.receive(Changed(5000, {"a": one_more}))[-1]) == (Span("a", 8, 5000, 1),)


def test_a_client_that_names_a_checkpoint_stands_at_its_bucket_s_last_op() -> None:
    """So sessions that come back after different checkpoints read the same."""
    machine = session(positions={"a": 9})
    machine.receive(view(10, {"a": (3, 8)}))
    assert wanted(machine.receive(Changed(12, {"a": total(12)}))[-1]) == ([("a", 8)], 12)


def test_a_position_above_the_checkpoint_is_kept() -> None:
    machine = session(positions={"a": 99})
    machine.receive(view(10, {"a": (3, 8)}))
    assert kinds(machine.receive(Changed(12, {"a": total(12)}))) == ["CheckpointDiff", "CheckpointComplete"]


def test_that_a_token_has_expired_is_told_once() -> None:
    machine = session(expires_in_s=45)
    machine.receive(view(10, {}))
    machine.receive(Tick(NOW_S + 25, jitter=-0.5))
    assert machine.next_tick_s == NOW_S + 44
    assert machine.receive(Tick(NOW_S + 44.5)) == []
    assert machine.next_tick_s == NOW_S + 45
    assert machine.receive(Tick(NOW_S + 45)) == [SendLine(TokenExpiresIn(0)), End("the token has expired")]
