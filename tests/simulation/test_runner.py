from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from syncline.testing.memory_source import MemorySource
from tests.simulation.checkers import (
    LocalTransaction,
    LocalWrite,
    StatusWatch,
    Violation,
    check_uploads,
    check_view,
)
from tests.simulation.plan import Plan
from tests.simulation.runner import Block, Results, run_block
from tests.simulation.tables import SCHEMA, History, Snapshot


def test_an_interrupted_soak_goes_on_behind_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "soak" / "results"
    results = Results(path)
    assert results.first_seed is None
    results.begin(100)
    assert results.next_seed == 100
    results.add(Block([100, 101], Counter(cut=2), [], 7, 1.5))
    results.add(Block([102, 103], Counter(cut=1, crash=1), [], 3, 2.5))
    again = Results(path)
    assert again.first_seed == 100
    again.begin(100)
    assert again.next_seed == 104
    assert again.counts() == {"cut": 3, "crash": 1}
    again.begin(7)
    assert Results(path).next_seed == 7


def test_a_plan_is_its_seeds_alone() -> None:
    assert Plan.of_seed(5) == Plan.of_seed(5)
    assert len({Plan.of_seed(seed).faults for seed in range(20)}) == 20


def test_a_block_tells_what_happened() -> None:
    block = run_block([1])
    assert block.failures == []
    assert block.rows_compared > 0
    assert block.counts["local transaction"] > 0


class Story:
    """A source with a history, and what a device of ada's sees of it."""

    def __init__(self) -> None:
        self.source = MemorySource.of_schema(SCHEMA)
        self.history = History()
        self.source.listen(self.history.note)
        for n in (1, 2, 3):
            with self.source.transaction() as writer:
                writer.insert("notes", "a", owner="ada", text=f"{n}", n=n, r=None)
                writer.insert("tickers", "t0", n=n)

    def look(
        self, notes: dict[str, tuple[object, ...]], *, ticker: int, seen: int, own: tuple[LocalTransaction, ...] = ()
    ) -> list[int]:
        local: Snapshot = {table.name: {} for table in SCHEMA.tables}
        local["notes"] = notes
        local["tickers"] = {"t0": (ticker,)}
        return check_view(self.history, user="ada", local=local, own=own, seen=[seen] * 3, newest=3)


def note(n: int) -> tuple[object, ...]:
    return ("ada", f"{n}", n, None)


def test_a_view_that_goes_back_or_mixes_states_is_a_violation() -> None:
    story = Story()
    assert story.look({"a": note(2)}, ticker=2, seen=1) == [2, 2, 2]
    assert story.look({"a": note(2)}, ticker=3, seen=1) == [3, 3, 2]  # what is more urgent may be ahead
    with pytest.raises(Violation, match="C3/C4"):
        story.look({"a": note(2)}, ticker=2, seen=3)
    with pytest.raises(Violation, match="C3/C4"):
        story.look({"a": note(3)}, ticker=2, seen=1)
    with pytest.raises(Violation, match="C3/C4"):
        story.look({"a": ("ada", "2", 3, None)}, ticker=3, seen=1)


def test_own_writes_stay_on_top_until_the_source_has_them() -> None:
    story = Story()
    write = LocalWrite("update", "notes", "a", {1: "mine"})
    waiting = LocalTransaction("t", (write,))
    assert story.look({"a": ("ada", "mine", 2, None)}, ticker=2, seen=2, own=(waiting,)) == [2, 2, 2]
    with pytest.raises(Violation):
        story.look({"a": note(3)}, ticker=3, seen=2, own=(waiting,))
    executed = LocalTransaction("t", (write,), position=3)
    assert story.look({"a": note(3)}, ticker=3, seen=2, own=(executed,)) == [3, 3, 3]
    refused = LocalTransaction("t", (write,), position=3, refused=True)
    for shown in (("ada", "mine", 3, None), note(3)):
        assert story.look({"a": shown}, ticker=3, seen=3, own=(refused,)) == [3, 3, 3]


def test_uploads_are_judged() -> None:
    own = [LocalTransaction(tag, ()) for tag in ("a", "b", "c")]
    check_uploads({"d": own}, [("a", False), ("b", True), ("c", False)])
    for executed, words in (
        (["a", "b", "b", "c"], "more than once"),
        (["a", "c", "b"], "another order"),
        (["a", "c"], "never got b"),
        (["a", "b", "c", "x"], "no device has committed"),
    ):
        with pytest.raises(Violation, match=words):
            check_uploads({"d": own}, [(tag, False) for tag in executed])
    check_uploads({"d": own}, [(tag, False) for tag in ("a", "b", "x", "c")], given_up=frozenset("x"))


def test_a_status_may_not_claim_for_long_that_all_is_well() -> None:
    watch = StatusWatch("d")
    for now_s in (0.0, 20.0, 30.0):
        watch.look(now_s, claims_well=True, waits=True)
    watch.look(31.0, claims_well=False, waits=True)
    watch.look(40.0, claims_well=True, waits=True)
    with pytest.raises(Violation, match="C6"):
        watch.look(71.0, claims_well=True, waits=True)
