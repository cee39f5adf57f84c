from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.row_json import object_id_text, row_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9223372036854775807, "9223372036854775807"),
        (2**70, "1180591620717411303424"),
        (5.0, "5.0"),
        (-0.0, "0.0"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e+21"),
        (1e30, "1e+30"),
        (1.5e-7, "1.5e-7"),
        (0.000015, "0.000015"),
        (-0.000001, "-0.000001"),
        (float("nan"), "null"),
        (float("inf"), "null"),
        (float("-inf"), "null"),
        (None, "null"),
        ('\x00\x1f\x7f\u2028\b\f\n\r\t"\\/é😀', '"\\u0000\\u001f\x7f\u2028\\b\\f\\n\\r\\t\\"\\\\/é😀"'),
        ("a\ud800b", '"a\\ud800b"'),
        ('{"b": 1,  "a": [1.0]}', '"{\\"b\\": 1,  \\"a\\": [1.0]}"'),
    ],
)
def test_a_value_is_written_as_the_protocol_says(value: SyncValue, text: str) -> None:
    assert row_json({"v": value}) == f'{{"v":{text}}}'


def test_a_blob_is_left_out() -> None:
    assert row_json({"a": 1, "b": b"x", "c": 2.0}) == '{"a":1,"c":2.0}'


@settings(max_examples=40)
@given(
    st.dictionaries(st.text(), st.none() | st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
)
def test_a_row_reads_back_as_it_was(row: dict[str, SyncValue]) -> None:
    assert json.loads(row_json(row)) == row


@pytest.mark.parametrize(("value", "text"), [("x", "x"), (7, "7"), (7.0, "7"), (0.5, "0.5"), (None, "")])
def test_an_object_id_is_the_text_of_the_id(value: SyncValue, text: str) -> None:
    assert object_id_text(value) == text
