"""The examples of docs/reference/explain.md are what the functions give."""

from __future__ import annotations

import re
from pathlib import Path

from syncline.sync_config import compile_sync_config
from syncline.sync_config.explain import Explained, explain_visibility
from tests.unit.sync_config.explain.explaining import connection_of, row_of
from tests.unit.sync_config.resolving import Rows

PAGE = (Path(__file__).parents[4] / "docs/reference/explain.md").read_text("utf-8")

LISTS: Rows = [
    ("lists", {"id": "L1", "owner_id": "u1", "archived": 0}),
    ("lists", {"id": "L2", "owner_id": "u2", "archived": 0}),
]


def blocks(language: str) -> list[str]:
    """The blocks of a language, in the order of the page."""
    return re.findall(rf"```{language}\n(.*?)\n```", PAGE, re.DOTALL)


def examples() -> list[Explained]:
    """What the page shows, in its order."""
    plan = compile_sync_config(blocks("yaml")[0])
    row = row_of(plan, "todos", "5#", id="T1", list_id="L1", org=7, done=0)
    user = connection_of(plan, {"sub": "u1", "org": "7"}, LISTS, prefix="5#")
    other = connection_of(plan, {"sub": "u2", "org": "7"}, LISTS, prefix="5#")
    return [row, user, explain_visibility(row, user), explain_visibility(row, other)]


def test_the_examples_of_the_page_are_what_the_functions_give() -> None:
    assert blocks("text") == [str(example) for example in examples()]


def test_the_json_of_the_page_is_part_of_what_the_functions_give() -> None:
    (shown,) = blocks("json")
    assert shown in examples()[0].to_json().decode()
