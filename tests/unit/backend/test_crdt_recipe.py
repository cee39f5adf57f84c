"""The recipe for CRDT payloads in the docstring of `syncline.backend.conflicts` runs as it stands there, with pycrdt."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pycrdt
import pytest

from syncline.backend import TablePolicy, conflicts
from syncline.backend.conflicts import Apply, MergeValues, Reject
from syncline.backend.persisters.base import Write
from syncline.protocol.crud import UpdateType


@pytest.fixture(scope="module")
def policy() -> TablePolicy:
    """What the recipe's last line makes."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", conflicts.__doc__ or "", re.DOTALL)
    [recipe] = [block for block in blocks if "pycrdt" in block]
    before, _, expression = recipe.rpartition("\nTablePolicy(")
    names: dict[str, Any] = {"base64": base64, "pycrdt": pycrdt, "MergeValues": MergeValues, "TablePolicy": TablePolicy}
    exec(before, names)
    made = eval(f"TablePolicy({expression}", names)
    assert isinstance(made, TablePolicy)
    return made


def state_of(document: pycrdt.Doc[Any]) -> str:
    """A document as a column holds it."""
    return base64.b64encode(document.get_update()).decode()


def text_of(state: str) -> str:
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    document.apply_update(base64.b64decode(state))
    return str(document.get("body", type=pycrdt.Text))


def edited(state: str, edit: Callable[[pycrdt.Text], object]) -> str:
    """A device that has this state changes it, and uploads the whole."""
    document: pycrdt.Doc[Any] = pycrdt.Doc()
    if state:
        document.apply_update(base64.b64decode(state))
    edit(document.get("body", type=pycrdt.Text))
    return state_of(document)


def arrive(policy: TablePolicy, stored: str, arriving: str) -> Apply | Reject:
    assert policy.conflicts is not None
    write = Write(UpdateType.PATCH, "documents", "d1", {"document": arriving}, None, 0)
    decision = policy.conflicts.decide(write, {"document": stored})
    assert isinstance(decision, (Apply, Reject))
    return decision


def test_concurrent_edits_are_both_there_whatever_arrives_first_and_however_often(policy: TablePolicy) -> None:
    base = edited("", lambda text: text.insert(0, "shopping list"))
    devices = [
        edited(base, lambda text: text.insert(0, "our ")),
        edited(base, lambda text: text.insert(13, ": milk")),
        edited(base, lambda text: text.__delitem__(slice(8, 13))),
    ]
    results: set[str] = set()
    for order in permutations(devices):
        stored = base
        for arriving in (*order, order[0]):  # the first one is repeated
            decision = arrive(policy, stored, arriving)
            assert isinstance(decision, Apply)
            stored = decision.write.data["document"]
        results.add(text_of(stored))
    assert results == {"our shopping: milk"}


@pytest.mark.parametrize("arriving", ["not base64!", "", base64.b64encode(b"no update").decode()])
def test_what_is_no_update_is_refused_and_the_row_stays(policy: TablePolicy, arriving: str) -> None:
    stored = edited("", lambda text: text.insert(0, "kept"))
    decision = arrive(policy, stored, arriving)
    assert isinstance(decision, Reject)
    assert decision.code == "INVALID_DATA"
