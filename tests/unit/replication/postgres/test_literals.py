from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.replication.postgres.literals import (
    ArrayItem,
    RangeText,
    parse_array,
    parse_composite,
    parse_multirange,
    parse_range,
)

texts = st.text(st.one_of(st.sampled_from(' ,;(){}[]"\\NUL'), st.characters(blacklist_categories=("Cs",))), max_size=8)
nullable = st.one_of(st.none(), texts)
ranges = st.builds(RangeText, nullable, nullable, st.booleans(), st.booleans())


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def doubled(text: str) -> str:
    """As composites and ranges write it: quotes and backslashes doubled."""
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def array_literal(items: list[ArrayItem], delimiter: str) -> str:
    parts = [
        "NULL" if item is None else array_literal(item, delimiter) if isinstance(item, list) else quoted(item)
        for item in items
    ]
    return "{" + delimiter.join(parts) + "}"


def range_literal(bounds: RangeText) -> str:
    lower, upper, lower_exclusive, upper_exclusive = bounds
    return (
        ("(" if lower_exclusive else "[")
        + ("" if lower is None else doubled(lower))
        + ","
        + ("" if upper is None else doubled(upper))
        + (")" if upper_exclusive else "]")
    )


@given(
    st.recursive(st.lists(nullable, max_size=4), lambda inner: st.lists(inner, min_size=1, max_size=3)),
    st.sampled_from(",;"),
)
def test_an_array_comes_back_as_it_was_written(items: list[ArrayItem], delimiter: str) -> None:
    literal = array_literal(items, delimiter)
    assert parse_array(literal, delimiter) == items
    assert parse_array("[2:5][-1:0]=" + literal, delimiter) == items


@given(st.lists(nullable, min_size=1, max_size=5))
def test_a_composite_comes_back_as_it_was_written(values: list[str | None]) -> None:
    for quote in (quoted, doubled):
        literal = "(" + ",".join("" if value is None else quote(value) for value in values) + ")"
        assert parse_composite(literal) == values


@given(ranges)
def test_a_range_comes_back_as_it_was_written(bounds: RangeText) -> None:
    assert parse_range(range_literal(bounds)) == bounds


@given(st.lists(ranges, max_size=4))
def test_a_multirange_comes_back_as_it_was_written(bounds: list[RangeText]) -> None:
    assert parse_multirange("{" + ",".join(map(range_literal, bounds)) + "}") == bounds


def test_an_empty_range_has_no_bounds() -> None:
    assert parse_range("empty") is None


@pytest.mark.parametrize("parse", [parse_array, parse_composite, parse_range, parse_multirange])
@given(text=st.text(st.sampled_from('{}()[],;"\\a1N ='), max_size=12))
def test_any_text_is_parsed_or_a_value_error(parse: Callable[[str], object], text: str) -> None:
    with contextlib.suppress(ValueError, IndexError):
        parse(text)
