from __future__ import annotations

import json
from typing import Any

import pytest

from syncline.client.transport.polled_pages import OPS_PER_LINE_MAX, SINCE_CHARACTERS_MAX, PolledPages
from syncline.errors import RemoteProtocolError
from syncline.protocol.lines import (
    BucketChecksum,
    Checkpoint,
    CheckpointComplete,
    CheckpointDiff,
    DataBatch,
    Line,
    decode_line,
)
from syncline.protocol.ops import OpType
from syncline.protocol.requests import BucketPosition


def page(changes: dict[str, list[Any]], timestamp: object, *, more: bool = False) -> bytes:
    return json.dumps({"changes": changes, "timestamp": timestamp, "hasMore": more}).encode()


def decoded(texts: list[bytes]) -> list[Line]:
    lines = [decode_line(text) for text in texts]
    return [line for line in lines if line is not None]


def positions(lines: list[Line]) -> list[BucketPosition]:
    """What a device would list in its next request after these lines."""
    found: dict[str, str] = {}
    for line in lines:
        if isinstance(line, CheckpointDiff):
            for name in line.removed_buckets:
                found.pop(name, None)
        if isinstance(line, DataBatch):
            found[line.bucket] = line.data[-1].op_id
    return [BucketPosition(name, after) for name, after in found.items()]


def test_a_page_becomes_operations_without_checksums() -> None:
    pages = PolledPages([])
    assert pages.since is None
    begun = decoded(pages.begin())
    assert begun == [Checkpoint("0", [BucketChecksum("polled[]", 0, 0)])]
    texts, more = pages.page(page({"lists": [{"id": "a", "n": 1}, {"id": "b", "_deleted": True}]}, "t1"))
    assert not more
    diff, rows, mark = decoded(texts)
    assert isinstance(diff, CheckpointDiff)
    assert isinstance(rows, DataBatch)
    assert isinstance(mark, DataBatch)
    assert [(entry.op, entry.object_id, entry.checksum) for entry in rows.data] == [
        (OpType.PUT, "a", 0),
        (OpType.REMOVE, "b", 0),
    ]
    assert json.loads(rows.data[0].data or "") == {"id": "a", "n": 1}
    assert [bucket.checksum for bucket in diff.updated_buckets] == [0, 0]
    assert pages.since == "t1"
    ids = [int(entry.op_id) for line in (rows, mark) for entry in line.data]
    assert ids == sorted(set(ids))
    assert int(diff.last_op_id) == ids[-1]
    assert decoded(pages.complete(7)) == [CheckpointDiff("3", [], [], "7"), CheckpointComplete("3")]


@pytest.mark.requirement(253)
def test_a_new_stream_goes_on_where_the_last_one_stopped() -> None:
    pages = PolledPages([])
    lines = decoded(pages.begin())
    for number, timestamp in enumerate((1700000000123, 1.5, "2026-01-01T00:00:00Z|x/ü?&")):
        lines += decoded(pages.page(page({"lists": [{"id": str(number)}]}, timestamp))[0])
    again = PolledPages([*positions(lines), BucketPosition("1#other[]", "99")])
    assert again.since == "2026-01-01T00:00:00Z|x/ü?&"
    assert len(positions(lines)) == 2  # the rows, and the newest timestamp alone
    texts, _ = again.page(page({"lists": [{"id": "z"}]}, "t9"))
    [rows] = [line for line in decoded(texts) if isinstance(line, DataBatch) and line.data[0].object_id == "z"]
    assert int(rows.data[0].op_id) > max(int(position.after) for position in positions(lines))


def test_of_two_timestamps_the_later_one_counts() -> None:
    known = [BucketPosition("polled:since=new", "9"), BucketPosition("polled:since=old", "8")]
    assert PolledPages(known).since == "new"


def test_an_empty_page_is_nothing_and_one_with_a_later_timestamp_is_noted() -> None:
    pages = PolledPages([])
    assert pages.page(page({}, "t1"))[0]
    assert pages.page(page({"lists": []}, "t1")) == ([], False)
    assert pages.page(page({}, "t2"))[0]
    assert pages.since == "t2"


def test_long_pages_are_several_lines() -> None:
    rows = [{"id": str(i)} for i in range(2 * OPS_PER_LINE_MAX + 1)]
    lines = decoded(PolledPages([]).page(page({"lists": rows}, 1))[0])
    sizes = [len(line.data) for line in lines if isinstance(line, DataBatch)]
    assert sizes == [OPS_PER_LINE_MAX, OPS_PER_LINE_MAX, 1, 1]


def test_values_stay_as_they_were_written_and_ids_become_text() -> None:
    body = (
        b'{"changes":{"t":[{"id": 7, "big":12345678901234567890, "real":1.50, "j":{"a":[true,null]}}]},"timestamp":1}'
    )
    _, rows, _ = decoded(PolledPages([]).page(body)[0])
    assert isinstance(rows, DataBatch)
    assert rows.data[0].object_id == "7"
    assert rows.data[0].data == '{"id":"7","big":12345678901234567890,"real":1.50,"j":{"a":[true,null]}}'


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"changes":[],"timestamp":1}',
        b'{"changes":{"t":[{"name":"no id"}]},"timestamp":1}',
        b'{"changes":{"t":["text"]},"timestamp":1}',
        page({}, "x" * (SINCE_CHARACTERS_MAX + 1)),
    ],
)
def test_pages_that_make_no_sense_are_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        PolledPages([]).page(body)


def test_a_backend_that_does_not_move_on_is_refused() -> None:
    pages = PolledPages([])
    assert pages.page(page({"t": [{"id": "a"}]}, 1, more=True))[1]
    with pytest.raises(RemoteProtocolError, match="hasMore"):
        pages.page(page({"t": [{"id": "a"}]}, 1, more=True))
