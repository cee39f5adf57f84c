"""What `syncline inspect --endpoint` and `buckets` count."""

from __future__ import annotations

import pytest

from syncline.cli.live.download import Download, TooManyRows
from syncline.cli.tables_text import aligned, bytes_text
from syncline.protocol.lines import (
    BucketChecksum,
    Checkpoint,
    CheckpointComplete,
    CheckpointDiff,
    DataBatch,
    OplogEntry,
    StreamDescription,
    StreamError,
    SubscriptionReason,
)
from syncline.protocol.ops import OpType


def op(op_id: int, kind: OpType, row_id: str = "", checksum: int = 1, data: str | None = None) -> OplogEntry:
    return OplogEntry(str(op_id), kind, checksum, "lists" if row_id else None, row_id or None, None, data)


def begun(*states: BucketChecksum, rows_max: int = 100) -> Download:
    download = Download(["other"], rows_max=rows_max)
    streams = [StreamDescription("mine", is_default=True, errors=[StreamError(0, "no such parameter")])]
    download.receive(Checkpoint("9", list(states), streams=streams), 10)
    return download


def test_rows_are_counted_once_and_bytes_as_they_came() -> None:
    download = begun(BucketChecksum("b", 7, 4))
    ops = [
        op(1, OpType.PUT, "x", 1, '{"id":"x"}'),
        op(2, OpType.PUT, "y", 2, '{"id":"y"}'),
        op(3, OpType.REMOVE, "y", 3),
        op(4, OpType.PUT, "x", 1, '{"id":"x","n":1}'),
    ]
    download.receive(DataBatch("b", ops), 250)
    download.receive(DataBatch("unknown", ops), 250)
    assert not download.is_complete
    download.receive(CheckpointComplete("9"), 20)
    assert download.is_complete
    value = download.as_value(sizes=True)
    [bucket] = value["buckets"]
    assert (bucket["rows"], bucket["ops_downloaded"], bucket["bytes_downloaded"], bucket["bytes_data"]) == (
        1,
        4,
        250,
        16,
    )
    assert value["tables"] == [{"name": "lists", "rows": 1, "bytes_data": 16}]
    assert value["problems"] == []
    assert value["errors"] == ["stream mine: no such parameter"]


def test_a_wrong_checksum_is_a_problem() -> None:
    download = begun(BucketChecksum("b", 2, 1))
    download.receive(DataBatch("b", [op(1, OpType.PUT, "x", 1, "{}")]), 9)
    assert [problem.split(":")[0] for problem in download.as_value(sizes=True)["problems"]] == ["bucket b"]


def test_a_clear_begins_anew_and_checksums_wrap() -> None:
    download = begun(BucketChecksum("b", -1, 2))
    download.receive(DataBatch("b", [op(1, OpType.PUT, "x", 5, "{}")]), 9)
    download.receive(DataBatch("b", [op(2, OpType.CLEAR, checksum=-3), op(3, OpType.PUT, "y", 2, "{}")]), 9)
    value = download.as_value(sizes=True)
    assert (value["problems"], value["buckets"][0]["rows"]) == ([], 1)


def test_a_new_checkpoint_replaces_buckets_while_the_old_one_is_sent() -> None:
    download = begun(BucketChecksum("a", 0), BucketChecksum("b", 0, subscriptions=[SubscriptionReason(default=0)]))
    new = BucketChecksum("c", 0, subscriptions=[SubscriptionReason(sub=0)])
    download.receive(CheckpointDiff("10", ["a"], [new]), 9)
    value = download.as_value(sizes=False)
    assert value["checkpoint"] == "10"
    assert {each["name"]: each["reasons"] for each in value["buckets"]} == {
        "b": ["mine, by default"],
        "c": ["other, subscribed"],
    }


def test_more_rows_than_can_be_held_are_refused() -> None:
    download = begun(BucketChecksum("b", 0), rows_max=2)
    download.receive(DataBatch("b", [op(1, OpType.PUT, "x"), op(2, OpType.PUT, "y"), op(3, OpType.PUT, "y")]), 9)
    with pytest.raises(TooManyRows):
        download.receive(DataBatch("b", [op(4, OpType.PUT, "z")]), 9)


def test_columns_are_aligned_and_numbers_stand_at_the_right() -> None:
    assert aligned(["name", "rows"], [["a", 5], ["long", None], ["b", 1234]]) == [
        "  name  rows",
        "  a        5",
        "  long",
        "  b     1234",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, None), (0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 * 2**40, "5120.0 GiB")],
)
def test_sizes_have_units(count: int | None, text: str | None) -> None:
    assert bytes_text(count) == text
