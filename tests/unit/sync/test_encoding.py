from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.protocol.line_formats import LineFormat
from syncline.protocol.lines import CheckpointComplete, TokenExpiresIn
from syncline.protocol.ops import OpType
from syncline.storage.model import OP_CODES, OpChunk, OpRow, StoredOp, StoredOps
from syncline.sync.encoding import OpCounts, OpsForm, encode_chunk, encode_data_line, encode_stream_line, ops_form

_bson: Any = bson  # its stubs leave the types of buffers open
PUT: StoredOp = (
    41,
    OP_CODES[OpType.PUT],
    "todos",
    "t1",
    3_000_000_000,
    "k/1",
    '{"id":"t1","n":9007199254740993}',
    None,
)
REMOVE: StoredOp = (42, OP_CODES[OpType.REMOVE], "todos", "t0", 5, "k/0", None, None)
MOVE: StoredOp = (43, OP_CODES[OpType.MOVE], None, None, 4_000_000_000, None, None, 50)
CLEAR: StoredOp = (44, OP_CODES[OpType.CLEAR], None, None, 4_000_000_000, None, None, 51)


def line_of(rows: list[StoredOp], form: OpsForm, *, has_more: bool = False) -> dict[str, Any]:
    encoded = encode_chunk(OpChunk("1#a[]", 40, rows[-1][0], has_more, StoredOps(rows)), form)
    line = encode_data_line(encoded, form)
    return _bson.decode(line) if form is OpsForm.BSON else json.loads(line)


def test_each_kind_of_operation_has_the_fields_of_the_protocol() -> None:
    expected = [
        {
            "op_id": "41",
            "op": "PUT",
            "object_type": "todos",
            "object_id": "t1",
            "checksum": 3_000_000_000,
            "subkey": "k/1",
            "data": '{"id":"t1","n":9007199254740993}',
        },
        {
            "op_id": "42",
            "op": "REMOVE",
            "object_type": "todos",
            "object_id": "t0",
            "checksum": 5,
            "subkey": "k/0",
            "data": None,
        },
        {"op_id": "43", "op": "MOVE", "checksum": 4_000_000_000},
        {"op_id": "44", "op": "CLEAR", "checksum": 4_000_000_000 - 2**32},
    ]
    head = {"bucket": "1#a[]", "after": "40", "has_more": True, "next_after": "44"}
    for form in (OpsForm.RAW_JSON, OpsForm.BSON):
        assert line_of([PUT, REMOVE, MOVE, CLEAR], form, has_more=True) == {"data": {**head, "data": expected}}
    nested = line_of([PUT, REMOVE, MOVE, CLEAR], OpsForm.NESTED_JSON, has_more=True)
    assert nested["data"]["data"][0]["data"] == {"id": "t1", "n": 9007199254740993}
    assert nested["data"]["data"][1:] == expected[1:]


def test_the_bytes_of_a_line_are_those_of_the_protocol() -> None:
    rows = [PUT]
    encoded = encode_chunk(OpChunk('1#a["x"]', 40, 41, False, StoredOps(rows)), OpsForm.RAW_JSON)
    assert encode_data_line(encoded, OpsForm.RAW_JSON) == (
        rb'{"data":{"bucket":"1#a[\"x\"]","after":"40","has_more":false,"data":[{"op_id":"41","op":"PUT",'
        rb'"object_type":"todos","object_id":"t1","checksum":3000000000,"subkey":"k/1",'
        rb'"data":"{\"id\":\"t1\",\"n\":9007199254740993}"}],"next_after":"41"}}' + b"\n"
    )
    nested = encode_chunk(OpChunk('1#a["x"]', 40, 41, False, StoredOps(rows)), OpsForm.NESTED_JSON)
    assert b'"data":{"id":"t1","n":9007199254740993}}]' in encode_data_line(nested, OpsForm.NESTED_JSON)


def test_a_checksum_above_31_bits_is_a_double_in_bson_as_it_was_recorded() -> None:
    encoded = encode_chunk(OpChunk("1#a[]", 40, 42, False, StoredOps([PUT, REMOVE])), OpsForm.BSON)
    assert b"\x01checksum\0" in encoded.ops
    assert b"\x10checksum\0" in encoded.ops


def row_of(op_id: int, object_id: str, data: dict[str, str]) -> StoredOp:
    return (op_id, OP_CODES[OpType.PUT], "lists", object_id, op_id % 2**32, "k", json.dumps(data), None)


ROWS = st.builds(row_of, st.integers(1, 2**63 - 1), st.text(), st.dictionaries(st.text(), st.text(), max_size=3))


@given(st.lists(ROWS, min_size=1, max_size=20))
def test_every_form_holds_the_same_operations(rows: list[StoredOp]) -> None:
    raw, nested, document = (line_of(rows, form)["data"]["data"] for form in OpsForm)
    assert raw == document
    assert [{**entry, "data": json.loads(entry["data"])} for entry in raw] == nested


def test_a_chunk_knows_how_many_operations_it_has_and_the_newest_that_one_gave_way_to() -> None:
    encoded = encode_chunk(OpChunk("1#a[]", 40, 44, False, StoredOps([PUT, MOVE, CLEAR])), OpsForm.RAW_JSON)
    assert (encoded.op_count, encoded.newest_target) == (3, 51)
    plain = [OpRow(41, OpType.PUT, "todos", "t1", 1, "k", "{}")]
    assert encode_chunk(OpChunk("1#a[]", 40, 41, False, plain), OpsForm.RAW_JSON).newest_target == 0


def test_an_encoded_chunk_counts_the_kinds_where_they_are_not_all_the_same() -> None:
    mixed = encode_chunk(OpChunk("1#a[]", 40, 44, False, StoredOps([PUT, REMOVE, MOVE, MOVE, CLEAR])), OpsForm.BSON)
    assert (mixed.op_count, mixed.counts, mixed.newest_target) == (5, OpCounts(1, 1, 2, 1), 51)
    usual = encode_chunk(OpChunk("1#a[]", 40, 41, False, StoredOps([PUT])), OpsForm.RAW_JSON)
    assert (usual.op_count, usual.counts, usual.newest_target) == (1, None, 0)


def test_stored_operations_are_op_rows_to_whoever_looks_at_one() -> None:
    ops = StoredOps([PUT, REMOVE])
    assert list(ops) == [OpRow(41, OpType.PUT, *PUT[2:]), OpRow(42, OpType.REMOVE, *REMOVE[2:])]
    assert ops[1].op is OpType.REMOVE
    assert ops[1:] == [OpRow(42, OpType.REMOVE, *REMOVE[2:])]
    assert len(ops) == 2


@pytest.mark.parametrize(
    ("line_format", "raw_data", "form"),
    [
        (LineFormat.NDJSON, True, OpsForm.RAW_JSON),
        (LineFormat.NDJSON, False, OpsForm.NESTED_JSON),
        (LineFormat.BSON, True, OpsForm.BSON),
        (LineFormat.BSON, False, OpsForm.BSON),
    ],
)
def test_raw_data_is_a_matter_of_ndjson_only(line_format: LineFormat, raw_data: bool, form: OpsForm) -> None:
    assert ops_form(line_format, raw_data=raw_data) is form


def test_other_lines_come_in_both_formats() -> None:
    assert encode_stream_line(TokenExpiresIn(5), LineFormat.NDJSON) == b'{"token_expires_in":5}\n'
    assert encode_stream_line(TokenExpiresIn(5), LineFormat.BSON) == bson.encode({"token_expires_in": 5})
    complete = {"checkpoint_complete": {"last_op_id": "9"}}
    assert _bson.decode(encode_stream_line(CheckpointComplete("9"), LineFormat.BSON)) == complete
