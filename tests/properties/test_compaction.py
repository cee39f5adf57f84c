"""Compaction changes what a client is sent and nothing that it ends up with, from any position, at any checkpoint, stopped anywhere."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.protocol.ops import OpType, put_checksum, remove_checksum
from syncline.storage.compaction import BucketCompaction
from syncline.storage.model import OpRow
from tests.support.bucket_model import BucketModel, compacted_ops, reduced

EXAMPLES = 5_000 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 250


@dataclass(frozen=True)
class Round:
    """Operations that are appended, and a compaction run after them. `above`: how many ops are not visible yet."""

    ops: list[tuple[bool, str, int]]  # PUT or REMOVE, id, distance to the op id before
    above: int
    page_ops: int
    keys_max: int
    clear_ops_max: int
    steps_max: int  # changes after which the run is stopped


def rounds() -> st.SearchStrategy[list[Round]]:
    op = st.tuples(st.booleans(), st.sampled_from("aabbcd"), st.integers(1, 3))
    one = st.builds(
        Round,
        ops=st.lists(op, max_size=14),
        above=st.sampled_from([0, 0, 1, 3]),
        page_ops=st.integers(1, 6),
        keys_max=st.sampled_from([1, 2, 3, 100]),
        clear_ops_max=st.sampled_from([1, 2, 3, 100]),
        steps_max=st.sampled_from([0, 1, 2, 3, 1000, 1000, 1000]),
    )
    return st.lists(one, min_size=1, max_size=4)


def appended(history: list[OpRow], ops: list[tuple[bool, str, int]]) -> list[OpRow]:
    """New operations above the history, each with its own data."""
    op_id = history[-1].op_id if history else 0
    new: list[OpRow] = []
    for is_put, object_id, distance in ops:
        op_id += distance
        subkey = f"{object_id}-{op_id % 2}" if object_id == "d" else object_id  # two source rows with one output id
        if is_put:
            data = str(op_id)
            checksum = put_checksum("t", object_id, data)
            new.append(OpRow(op_id, OpType.PUT, "t", object_id, checksum, subkey, data))
        else:
            new.append(OpRow(op_id, OpType.REMOVE, "t", object_id, remove_checksum(subkey), subkey, None))
    return new


def run(stored: list[OpRow], checkpoint: int, plan: Round, seen: Counter[str]) -> list[OpRow]:
    """One compaction run over a bucket, up to `steps_max` changes."""
    machine = BucketCompaction(keys_max=plan.keys_max, clear_ops_max=plan.clear_ops_max)
    steps = passes = 0
    while not machine.is_done:
        before = checkpoint + 1 if machine.before is None else machine.before
        page = [op for op in reversed(stored) if op.op_id < before][: plan.page_ops]
        passes += not page
        for change in machine.feed(page):
            if steps >= plan.steps_max:
                seen["stopped in the middle"] += 1
                return stored
            steps += 1
            assert len(change.moves) <= plan.page_ops
            if change.cleared is not None:
                assert change.cleared.op_count <= plan.clear_ops_max + 1
            stored = compacted_ops(stored, change)
            seen["MOVE"] += len(change.moves)
            seen["CLEAR"] += change.cleared is not None
        assert len(machine._newest) <= plan.keys_max
    seen["read again for more keys"] += passes > 1
    return stored


def check_clients(history: list[OpRow], stored: list[OpRow], checkpoint: int, seen: Counter[str]) -> None:
    """A client at any position, sent what is stored up to any checkpoint, ends as if nothing had been compacted - or is not told so."""
    for at in range(checkpoint + 1):
        expected = reduced(history, upto=at).state
        last_op = max((op.op_id for op in history if op.op_id <= at), default=0)
        for position in range(at + 1):
            client: BucketModel = reduced(history, upto=position)
            client.position = position
            sent = [op for op in stored if position < op.op_id <= at]
            beyond = any((op.target_op or 0) > at for op in sent)
            missing = position < last_op and (not sent or sent[-1].op_id != last_op)
            if beyond or missing:
                assert at < checkpoint, "at the newest checkpoint nothing is ever withheld"
                seen["withheld for a target"] += beyond
                seen["withheld for a CLEAR"] += missing
                continue
            for op in sent:
                client.receive(op)
            assert client.state == expected
            seen["CLEAR in the middle"] += position > 0 and client.clears > 0
            seen["clients"] += 1


def test_every_client_ends_as_if_nothing_had_been_compacted() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
    @given(rounds())
    def check(plans: list[Round]) -> None:
        history: list[OpRow] = []
        stored: list[OpRow] = []
        checkpoint = 0
        for plan in plans:
            new = appended(history, plan.ops)
            history, stored = [*history, *new], [*stored, *new]
            visible = history[: len(history) - plan.above] if plan.above else history
            checkpoint = max(checkpoint, visible[-1].op_id if visible else 0)
            untouched = [op for op in stored if op.op_id > checkpoint]
            after = run(stored, checkpoint, plan, seen)
            assert [op for op in after if op.op_id > checkpoint] == untouched
            assert len(after) <= len(stored)
            assert sum(op.checksum for op in after) % 2**32 == sum(op.checksum for op in history) % 2**32
            stored = after
            seen["ops above the checkpoint"] += bool(untouched)
            check_clients(history, stored, checkpoint, seen)

    check()
    print(dict(sorted(seen.items())))
    cases = (
        "MOVE", "CLEAR", "CLEAR in the middle", "clients", "ops above the checkpoint", "read again for more keys",
        "stopped in the middle", "withheld for a CLEAR", "withheld for a target",
    )  # fmt: skip
    assert [case for case in cases if seen[case] < 20] == []


def test_a_whole_run_leaves_nothing_to_do_and_a_second_one_does_nothing() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, deadline=None, print_blob=True)
    @given(rounds())
    def check(plans: list[Round]) -> None:
        stored: list[OpRow] = []
        for plan in plans:
            stored = [*stored, *appended(stored, plan.ops)]
            whole = Round(plan.ops, 0, plan.page_ops, plan.keys_max, plan.clear_ops_max, steps_max=10**6)
            last = stored[-1].op_id if stored else 0
            before = len(stored)
            stored = run(stored, last, whole, seen)
            seen["shrunk"] += len(stored) < before
            keys = [(op.object_id, op.subkey) for op in stored if op.op in (OpType.PUT, OpType.REMOVE)]
            assert len(keys) == len(set(keys)), "of each key, only the newest operation is left"
            kinds = [op.op for op in stored]
            first_put = kinds.index(OpType.PUT) if OpType.PUT in kinds else len(kinds)
            assert first_put <= 1, "before the first PUT there is one operation at most"
            assert OpType.CLEAR not in kinds[1:]
            again: Counter[str] = Counter()
            assert run(stored, last, whole, again) == stored
            assert again["MOVE"] == again["CLEAR"] == 0

    check()
    print(dict(sorted(seen.items())))
    assert seen["shrunk"] > 100
    assert seen["read again for more keys"] > 100
