"""What a stream's checkpoints are told to have cost, with a clock of the test's own."""

from __future__ import annotations

from syncline.protocol.lines import Checkpoint, CheckpointComplete, CheckpointDiff, TokenExpiresIn
from syncline.sync.checkpoint_report import (
    DEFINITIONS_TOLD_MAX,
    AnnouncedCheckpoint,
    CheckpointTeller,
    CompletedCheckpoint,
    StreamTotals,
)
from syncline.sync.encoding import EncodedChunk, OpCounts


def chunk(bucket: str, counts: OpCounts, *, has_more: bool = False) -> EncodedChunk:
    """A chunk of so many operations; which is all that counts here."""
    count = sum(counts)
    return EncodedChunk(bucket, 0, count, has_more, b"", count, None if count == counts.put else counts, 0)


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.announced: list[AnnouncedCheckpoint] = []
        self.completed: list[CompletedCheckpoint] = []

    def checkpoint_announced(self, checkpoint: AnnouncedCheckpoint) -> None:
        self.announced.append(checkpoint)

    def checkpoint_completed(self, checkpoint: CompletedCheckpoint) -> None:
        self.completed.append(checkpoint)


def announce(teller: CheckpointTeller, totals: StreamTotals, op_id: str, *buckets: str) -> None:
    line = CheckpointDiff(last_op_id=op_id, removed_buckets=[], updated_buckets=[], write_checkpoint="7")
    teller.made(line, totals, buckets=buckets, parameter_results=len(buckets))


def complete(teller: CheckpointTeller, totals: StreamTotals, op_id: str) -> None:
    teller.made(CheckpointComplete(op_id), totals, buckets=(), parameter_results=0)


def test_time_and_sizes_are_those_of_the_checkpoint_that_was_completed() -> None:
    heard, totals = Heard(), StreamTotals(operation_count=3, line_bytes=900)
    teller = CheckpointTeller(each=True, now_s=10.0)
    teller.waited(1.0, for_view=True)
    announce(teller, totals, "5", '1#a|0["u1"]', '1#a|0["u2"]', "1#b|0[]")
    totals.add_chunk(chunk("1#b|0[]", OpCounts(1, 2, 3, 4)))
    totals.line_bytes += 100
    teller.waited(2.0, for_view=False)
    teller.sent(0.5, heard, now_s=14.0)
    first = AnnouncedCheckpoint("5", "7", 3, {"a|0": 2, "b|0": 1}, 3)
    assert heard.announced == [first]
    complete(teller, totals, "5")
    assert heard.completed == []  # its last line was not sent yet
    teller.sent(0.5, heard, now_s=15.0)
    assert heard.completed == [CompletedCheckpoint(first, 10, 100, 1.0, 2.0, 1.0, 5.0)]
    announce(teller, totals, "6", "1#b|0[]")
    complete(teller, totals, "6")
    teller.sent(0.25, heard, now_s=17.0)
    second = AnnouncedCheckpoint("6", "7", 1, {"b|0": 1}, 1)
    assert heard.completed[1] == CompletedCheckpoint(second, 0, 0, 0.0, 0.0, 0.25, 2.0)
    assert heard.announced == [first], "the second was sent whole: it is told once"
    assert not teller.is_done


def test_only_the_first_complete_checkpoint_is_told_unless_each_is_wanted() -> None:
    heard, totals = Heard(), StreamTotals()
    teller = CheckpointTeller(each=False, now_s=0.0)
    head = Checkpoint(last_op_id="1", buckets=[], streams=[])
    teller.made(head, totals, buckets=(), parameter_results=0)
    teller.made(TokenExpiresIn(20), totals, buckets=(), parameter_results=0)
    announce(teller, totals, "2")  # a newer one took over before the first was complete
    complete(teller, totals, "2")
    announce(teller, totals, "3")
    teller.sent(0.0, heard, now_s=1.0)
    assert [one.op_id for one in heard.announced] == ["1"]
    assert [one.announced.op_id for one in heard.completed] == ["2"]
    assert teller.is_done
    teller.sent(0.0, heard, now_s=2.0)
    assert len(heard.announced) == 1


def test_a_line_names_a_bounded_number_of_streams() -> None:
    heard = Heard()
    teller = CheckpointTeller(each=True, now_s=0.0)
    announce(teller, StreamTotals(), "1", *(f"1#stream{number}|0[]" for number in range(100)))
    teller.sent(0.0, heard, now_s=1.0)
    [told] = heard.announced
    assert (told.bucket_count, len(told.definitions)) == (100, DEFINITIONS_TOLD_MAX)


def test_buckets_that_come_in_several_lines_are_counted_by_their_stream_without_their_values() -> None:
    totals = StreamTotals()
    totals.add_chunk(chunk('1#small|0["u1"]', OpCounts(9, 0, 0, 0)))
    assert totals.large_buckets is None
    totals.add_chunk(chunk('1#large|0["u1"]', OpCounts(500, 0, 0, 0), has_more=True))
    totals.add_chunk(chunk('1#large|0["u1"]', OpCounts(1, 1, 0, 0)))
    totals.add_chunk(chunk('1#small|0["u1"]', OpCounts(9, 0, 0, 0)))
    assert totals.large_buckets == {"large|0": 502}
    assert totals.operations == OpCounts(519, 1, 0, 0)
