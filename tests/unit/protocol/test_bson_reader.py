"""Our reader of BSON against the `bson` package: what it reads is the same, and what it refuses ends in one kind of error."""

from __future__ import annotations

import struct
from typing import Any

import bson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncline.errors import RemoteProtocolError
from syncline.protocol.bson_lines import bson_array, bson_data_line, bson_line
from syncline.protocol.bson_reader import DEPTH_MAX, DOCUMENT_BYTES_MIN, BsonLine, read_document
from syncline.protocol.lines import (
    BucketChecksum,
    Checkpoint,
    CheckpointDiff,
    DataBatch,
    OplogEntry,
    SubscriptionReason,
    TokenExpiresIn,
    decode_line,
)
from syncline.protocol.ops import OpType

_bson: Any = bson  # its stubs leave the types of buffers open

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=20
)
documents = st.dictionaries(names, values, max_size=6)


@given(documents)
@example({"": {"": []}, "n": 2.0**53, "m": -(2.0**63), "i": float("inf"), "z": -0.0})
def test_documents_are_read_as_the_oracle_reads_them(document: dict[str, Any]) -> None:
    encoded = bson.encode(document)
    assert read_document(encoded) == _bson.decode(encoded)


@given(documents, st.data())
def test_whatever_is_cut_or_changed_is_read_or_refused_and_nothing_else(
    document: dict[str, Any], data: st.DataObject
) -> None:
    broken = bytearray(bson.encode(document))
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(0, len(broken)))])
    for wrong in (bytes(broken), cut):
        try:
            read_document(wrong)
        except RemoteProtocolError:
            continue
        # What we take, the oracle takes too, but for arrays with odd indexes and for doubled names.
        _bson.decode(wrong)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with_length = struct.pack("<i", len(data) + DOCUMENT_BYTES_MIN) + data + b"\0"
    for wrong in (data, with_length):
        try:
            read_document(wrong)
        except RemoteProtocolError:
            continue


@pytest.mark.parametrize(
    "value", [b"blob", bson.ObjectId(), bson.Int64(5)], ids=["binary", "object id", "a 64-bit integer"]
)
def test_only_the_types_of_lines_are_read(value: object) -> None:
    encoded = bson.encode({"a": value})
    if isinstance(value, bson.Int64):
        assert read_document(encoded) == {"a": 5}
        return
    with pytest.raises(RemoteProtocolError, match="which no line has"):
        read_document(encoded)


def test_nesting_has_a_limit() -> None:
    document: dict[str, Any] = {}
    for _ in range(DEPTH_MAX - 1):
        document = {"a": document}
    assert read_document(bson.encode(document)) == document
    with pytest.raises(RemoteProtocolError, match="nested deeper"):
        read_document(bson.encode({"a": document}))


@pytest.mark.parametrize("size", [0, 1, 4, 6, 2**31 - 1])
def test_a_wrong_length_is_refused(size: int) -> None:
    with pytest.raises(RemoteProtocolError):
        read_document(struct.pack("<i", size) + b"\0")


def test_lines_are_the_same_in_bson() -> None:
    bucket = BucketChecksum("1#a[]", -5, 2, 1, [SubscriptionReason(default=0), SubscriptionReason(sub=1)])
    for line in (Checkpoint("42", [bucket], "7"), CheckpointDiff("43", ["1#b[]"], [bucket]), TokenExpiresIn(20)):
        assert decode_line(BsonLine(bson_line(line))) == line
    operations = [{"op_id": "1", "op": "PUT", "object_type": "t", "object_id": "a", "checksum": 3e9, "data": "{}"}]
    encoded = bson_data_line(bucket="1#a[]", after=0, next_after=1, has_more=True, entries=bson_array(operations))
    assert decode_line(BsonLine(encoded)) == DataBatch(
        "1#a[]", [OplogEntry("1", OpType.PUT, 3_000_000_000, "t", "a", data="{}")], "0", "1", True
    )


def test_a_line_of_an_unknown_kind_is_none_and_a_wrong_one_is_refused() -> None:
    assert decode_line(BsonLine(bson.encode({"news": {"of": "tomorrow"}}))) is None
    with pytest.raises(RemoteProtocolError, match="cannot be read"):
        decode_line(BsonLine(bson.encode({"checkpoint_complete": 5})))
