from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.backend.conflicts import MERGE_LINES_MAX, Unmergeable, merge_json, merge_set, merge_text

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "d\n"]), max_size=8).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["x", "y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON, max_size=3)
SETS = st.lists(st.integers(0, 6), max_size=6, unique=True)


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "merged"),
    [
        ("1\n2\n3\n", "0\n1\n2\n3\n", "1\n2\n3\n4\n", "0\n1\n2\n3\n4\n"),
        ("1\n2\n3\n", "1\n3\n", "1\n2\n4\n", None),
        ("1\n2\n3\n4\n5\n", "1\n3\n4\n5\n", "1\n2\n3\n4\nfive\n", "1\n3\n4\nfive\n"),
        ("1\n2\n3\n", "1\nx\n3\n", "1\nx\n3\n", "1\nx\n3\n"),
        ("1\n2\n3\n", "1\nx\n3\n", "1\ny\n3\n", None),
        (None, "mine", "", "mine"),
        ("a", "b", "c", None),
        ("a", 1, "c", None),
    ],
)
def test_texts_are_merged_line_by_line(base: Any, mine: Any, theirs: Any, merged: str | None) -> None:
    if merged is None:
        with pytest.raises(Unmergeable):
            merge_text(base, mine, theirs)
    else:
        assert merge_text(base, mine, theirs) == merged


@given(base=LINES, mine=LINES, theirs=LINES)
@settings(max_examples=60)
def test_a_text_that_one_side_left_alone_is_the_other_sides_and_order_does_not_matter(
    base: str, mine: str, theirs: str
) -> None:
    assert merge_text(base, base, theirs) == theirs
    assert merge_text(base, mine, base) == mine
    assert merge_text(base, mine, mine) == mine
    try:
        merged = merge_text(base, mine, theirs)
    except Unmergeable:
        return
    assert merge_text(base, theirs, mine) == merged


def test_a_text_has_a_limit_of_lines() -> None:
    longest = "x\n" * MERGE_LINES_MAX
    assert merge_text(longest, longest, "y\n" + longest[2:]) == "y\n" + longest[2:]
    with pytest.raises(Unmergeable, match="lines"):
        merge_text("", "", longest + "x\n")


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "merged"),
    [
        ({"a": 1}, {"a": 2}, {"a": 1, "b": 3}, {"a": 2, "b": 3}),
        ({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}),
        ({"a": {"x": 1, "y": 1}}, {"a": {"x": 2, "y": 1}}, {"a": {"x": 1, "y": 3}}, {"a": {"x": 2, "y": 3}}),
        ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 2}),
        ({"a": 1}, {"a": None}, {"a": 1}, {"a": None}),
        ({"a": 1}, {"a": True}, {"a": 1}, {"a": True}),
        ({"a": 1}, {"a": 1}, {}, {}),
        ([1], [1, 2], [3], [1, 2]),
        (None, {"a": 1}, {"b": 2}, {"b": 2, "a": 1}),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_json_takes_what_the_device_changed(base: Any, mine: Any, theirs: Any, merged: Any, as_text: bool) -> None:
    sides = [json.dumps(value) if as_text else value for value in (base, mine, theirs)]
    assert json.loads(merge_json(*sides)) == merged


@given(base=OBJECTS, mine=OBJECTS, theirs=OBJECTS)
@settings(max_examples=60)
def test_merged_json_that_arrives_again_stays(base: Any, mine: Any, theirs: Any) -> None:
    merged = merge_json(base, mine, theirs)
    assert merge_json(base, mine, merged) == merged
    assert json.loads(merge_json(base, base, theirs)) == theirs
    assert json.loads(merge_json(base, mine, base)) == mine


@given(base=SETS, mine=SETS, theirs=SETS)
@settings(max_examples=60)
def test_sets_lose_what_was_taken_out_and_get_what_was_put_in(
    base: list[int], mine: list[int], theirs: list[int]
) -> None:
    merged: list[int] = json.loads(merge_set(base, json.dumps(mine), theirs))
    removed, added = set(base) - set(mine), set(mine) - set(base)
    assert set(merged) == (set(theirs) - removed) | added
    assert len(merged) == len(set(merged))
    assert json.loads(merge_set(base, mine, merged)) == merged


@pytest.mark.parametrize("value", ["no json", '{"a": 1}', "7", "[" * 100_000])
def test_what_is_no_array_is_not_merged_as_a_set(value: str) -> None:
    with pytest.raises(Unmergeable):
        merge_set("[]", value, "[]")


def test_json_nested_without_end_is_not_merged() -> None:
    with pytest.raises(Unmergeable):
        merge_json("{}", "[" * 100_000, "{}")


def test_a_text_at_the_limit_with_every_other_line_changed_is_merged() -> None:
    """The worst case of the comparison: as many stretches as can be."""
    base = [f"{number}\n" for number in range(MERGE_LINES_MAX - 2)]
    mine = [line if number % 2 else f"mine {line}" for number, line in enumerate(base)]
    theirs = [*base, "theirs\n"]
    assert merge_text("".join(base), "".join(mine), "".join(theirs)) == "".join([*mine, "theirs\n"])
