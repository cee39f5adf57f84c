"""Our BSON against the `bson` package: what comes out is one document that it reads back."""

from __future__ import annotations

from typing import Any

import bson
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.protocol.bson_lines import bson_array, bson_data_line, bson_line, bson_number
from syncline.protocol.lines import (
    BucketChecksum,
    Checkpoint,
    CheckpointComplete,
    CheckpointDiff,
    Line,
    PartialCheckpointComplete,
    StreamDescription,
    SubscriptionReason,
    TokenExpiresIn,
    encode_line,
)

_bson: Any = bson  # its stubs leave the types of buffers open
BUCKET = BucketChecksum("1#a[]", -5, 2, 3, [SubscriptionReason(default=0), SubscriptionReason(sub=1)])
LINES: list[Line] = [
    Checkpoint("42", [BUCKET], "7", [StreamDescription("todos", True, [])]),
    Checkpoint("0", []),
    CheckpointDiff("43", ["1#gone[]"], [BUCKET]),
    PartialCheckpointComplete("43", 1),
    CheckpointComplete("43"),
    TokenExpiresIn(3541),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: type(line).__name__)
def test_a_line_holds_the_same_in_both_formats(line: Line) -> None:
    assert _bson.decode(bson_line(line)) == msgspec.json.decode(encode_line(line))


@given(
    bucket=st.text(),
    after=st.integers(0, 2**63 - 1),
    next_after=st.integers(0, 2**63 - 1),
    has_more=st.booleans(),
    entries=st.lists(st.fixed_dictionaries({"op_id": st.text(), "data": st.none() | st.text()}), max_size=5),
)
def test_a_joined_data_line_is_the_document_that_the_oracle_makes(
    bucket: str, after: int, next_after: int, has_more: bool, entries: list[dict[str, Any]]
) -> None:
    document = {
        "data": {
            "bucket": bucket,
            "after": str(after),
            "has_more": has_more,
            "data": entries,
            "next_after": str(next_after),
        }
    }
    joined = bson_data_line(
        bucket=bucket, after=after, next_after=next_after, has_more=has_more, entries=bson_array(entries)
    )
    assert joined == bson.encode(document)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, 0x10), (2**31 - 1, 0x10), (2**31, 0x01), (2**32 - 1, 0x01), (-(2**31), 0x10), (-(2**31) - 1, 0x01)],
)
def test_a_number_beyond_32_bits_is_a_double(value: int, kind: int) -> None:
    encoded = bson.encode({"n": bson_number(value)})
    assert encoded[4] == kind
    assert _bson.decode(encoded)["n"] == value
