"""Operators that only some configs use, by the names that the compilers give them (sync config reference, 6 and 8.2)."""

from __future__ import annotations

import pytest

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.functions import FUNCTIONS, LEGACY_FUNCTIONS, implementation
from syncline.sync_config.evaluation.json_values import elements
from syncline.sync_config.evaluation.values import EvaluationError, as_int64, legacy_literal

DOC = '{"a":{"b":1},"a.b":2,"n":null,"t":true,"arr":[1,{"z":2},null],"":5}'

UNFIXED: list[tuple[str, SyncValue, SyncValue]] = [
    ("->>", "a.b", 1),
    ("->", "a", '{"b":1}'),
    ("->>", "$.a.b", 1),
    ("->>", "n", "null"),
    ("->", "n", None),
    ("->", "$.n", None),
    ("->>", "$.n.x", "null"),
    ("->", "$.n.x", None),
    ("->>", "t", 1),
    ("->", "t", "true"),
    ("->>", "$.arr.1", '{"z":2}'),
    ("->>", "$.arr.2", "null"),
    ("->>", "$.arr[1]", None),
    ("->>", "", 5),
    ("->>", "$.", 5),
    ("->>", "zz", None),
    ("->>", None, None),
    ("json_extract", "$.n", "null"),
    ("json_extract", "$.a.b", 1),
    ("json_extract", "$.zz", None),
]


@pytest.mark.parametrize(("operator", "key", "value"), UNFIXED)
def test_paths_without_fixed_json_extract_are_split_and_keep_null(
    operator: str, key: SyncValue, value: SyncValue
) -> None:
    assert implementation(f"{operator} unfixed")(DOC, key) == value


@pytest.mark.parametrize("operator", ["->", "->>", "json_extract"])
@pytest.mark.parametrize("document", [None, "null"])
def test_nothing_is_found_in_a_document_that_is_null(operator: str, document: SyncValue) -> None:
    for name in (operator, f"{operator} unfixed"):
        assert implementation(name)(document, "$") is None
        assert implementation(name)(document, "$.a") is None


@pytest.mark.parametrize("name", ["json_extract", "json_extract unfixed", "json_array_length"])
def test_a_path_without_its_dollar_is_an_error(name: str) -> None:
    with pytest.raises(EvaluationError, match=r"must begin with \$"):
        implementation(name)(DOC, "a")


def test_not_equal_of_legacy_rules_is_null_where_a_side_is_null() -> None:
    assert [implementation("!=")(*sides) for sides in ((1, 2), (1, 1.0), (None, 1), (1, None))] == [1, 0, None, None]


def test_json_valid_is_a_function_of_legacy_rules_alone() -> None:
    assert set(LEGACY_FUNCTIONS) - set(FUNCTIONS) == {"json_valid"}
    valid = implementation("json_valid")
    assert [valid(value) for value in ("{}", " [1] ", "null", 5, b"{}", None, "{bad", "NaN", "")] == [1] * 5 + [0] * 4


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (2**53, 2**53),
        (9223372036854775807, 9223372036854775808),
        (123456789012345678, 123456789012345680),
        (-9007199254740993, -9007199254740992),
        (1.5, 1.5),
        ("9223372036854775807", "9223372036854775807"),
        (None, None),
    ],
)
def test_legacy_rules_round_integers_beyond_53_bits(written: SyncValue, read: SyncValue) -> None:
    assert legacy_literal(written) == read
    assert type(legacy_literal(written)) is type(read)


@pytest.mark.parametrize(
    ("value", "integer"),
    [
        (5.7, 5),
        (-5.7, -5),
        (1e308, 2**63 - 1),
        (float("-inf"), -(2**63)),
        (float("nan"), 0),
        (2**70, 2**63 - 1),
        ("6x", 6),
        ("99999999999999999999", 2**63 - 1),
        ("", 0),
        (None, None),
    ],
)
def test_bit_operators_take_integers_of_64_bits(value: SyncValue, integer: int | None) -> None:
    assert as_int64(value) == integer


@pytest.mark.parametrize("operator", ["=", "<", "<=", "!="])
def test_two_blobs_cannot_be_compared(operator: str) -> None:
    with pytest.raises(EvaluationError, match="blobs"):
        implementation(operator)(b"a", b"a")


def test_an_element_equals_what_is_written_the_same_in_rows_and_in_connection_data() -> None:
    assert elements('[{"o":1},[2.5,true],7,"x",null]') == [
        (0, '{"o":1.0}'),
        (1, "[2.5,true]"),
        (2, 7),
        (3, "x"),
        (4, None),
    ]


@pytest.mark.parametrize(
    ("document", "printed"),
    [
        ('{"b":1,"10":2,"9":3}', '{"9":3,"10":2,"b":1}'),
        ('{"01":1,"4294967295":2,"0":3}', None),
        ('{"a":1,"a":1}', None),
    ],
)
def test_keys_that_are_indexes_come_first(document: str, printed: str | None) -> None:
    expected = printed or {'{"a":1,"a":1}': '{"a":1}'}.get(document, '{"0":3,"01":1,"4294967295":2}')
    assert implementation("->>")(document, "$") == expected


def test_a_key_that_repeats_with_another_value_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="twice"):
        implementation("->>")('[{"a":1,"a":1.0}]', "$")
