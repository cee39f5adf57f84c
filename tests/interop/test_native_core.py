"""The same random events to our engine and to the official core: all tables and kinds of instructions must be equal after each (C5)."""

from __future__ import annotations

import functools
import os
import random
from collections import Counter

import pytest

from syncline.client.core.checkpoint import Blocked, Mismatch
from syncline.client.local import buckets
from syncline.client.local.buckets import BucketStore
from syncline.client.local.row_writer import RowWriter
from tests.interop.core_events import Event, Generator
from tests.interop.core_pair import Images, Pair, rows
from tests.interop.native_core import core_library

SEQUENCES = int(os.environ.get("SYNCLINE_CORE_SEQUENCES") or (20_000 if os.environ.get("SYNCLINE_SOAK") else 2_000))
FIRST = int(os.environ.get("SYNCLINE_CORE_FIRST") or 0)  # seed of the first sequence
EVENTS = 50  # of one sequence
CHUNK = 100  # sequences of one test
COPY_ROWS = 3  # changed operations from which on rows are copied, in every other sequence

# What has to happen in every chunk, or the comparison says less than it seems to: events, operations, instructions.
REQUIRED = (
    *(
        "data",
        "checkpoint",
        "diff",
        "complete",
        "keepalive",
        "broken line",
        "unknown line",
        "established",
        "stream ends",
    ),
    *(
        "local",
        "rolled back",
        "upload",
        "subscribe",
        "unsubscribe",
        "hold streams",
        "time passes",
        "checkpoint request",
    ),
    *("restart", "clear", "resync", "schema change"),
    *("PUT", "REMOVE", "MOVE", "CLEAR", "raw row", "insert-only row", "captured raw row", "statement"),
    *(
        "DidCompleteSync",
        "CloseSyncStream",
        "CloseSyncStream hidden",
        "FetchCredentials True",
        "FetchCredentials False",
    ),
    *("blocked", "mismatch", "partial checkpoint"),
)


@pytest.fixture(scope="module")
def images() -> Images:
    return Images(core_library())


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what happened; the verdicts of our engine are seen where they are made."""
    counter: Counter[str] = Counter()
    apply = BucketStore.apply

    def counted(*arguments: object, **options: object) -> object:
        result = apply(*arguments, **options)  # pyright: ignore[reportArgumentType]  # as it was called
        if isinstance(result, Blocked | Mismatch):
            counter[type(result).__name__.lower()] += 1
        return result

    monkeypatch.setattr(BucketStore, "apply", counted)
    return counter


@pytest.mark.requirement(27, 94, 95)
@pytest.mark.parametrize("first", range(FIRST, FIRST + SEQUENCES, CHUNK))
def test_random_events_leave_the_same_tables_as_the_official_core(
    images: Images, seen: Counter[str], monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    for seed in range(first, first + CHUNK):
        # Every other sequence takes the way of a first download of many rows.
        writer = RowWriter if seed % 2 else functools.partial(RowWriter, copy_rows_min=COPY_ROWS)
        monkeypatch.setattr(buckets, "RowWriter", writer)
        pair = Pair(images, requests=seed % 4 >= 2)
        try:
            play(pair, Generator(random.Random(seed)), seed, seen)
        finally:
            seen.update(pair.seen)
            pair.close()
    print(
        f"seeds {first} to {first + CHUNK - 1}:", ", ".join(f"{count} {what}" for what, count in sorted(seen.items()))
    )
    assert not [what for what in REQUIRED if not seen[what]]


def play(pair: Pair, generator: Generator, seed: int, seen: Counter[str]) -> None:
    """One sequence. Any difference names the seed, the step and the event."""
    for step in range(EVENTS):
        event = generator.next()
        count(event, seen)
        try:
            closed = pair.play(event)
            pair.compare()
            if closed:
                pair.stop()
                pair.start()
                pair.compare()
        except AssertionError as exc:
            raise AssertionError(f"seed {seed}, after event {step} ({event.kind}): {exc}\n{event}") from exc
        if pair.requests:
            generator.write_checkpoint = pair.service_number
        if closed:
            stored = [name for (name,) in rows(pair.ours, "SELECT name FROM ps_buckets")]
            [(explicit,)] = rows(pair.ours, "SELECT count(*) FROM ps_stream_subscriptions WHERE ttl IS NOT NULL")
            generator.reopened(stored, explicit)


def count(event: Event, seen: Counter[str]) -> None:
    """Note what an event is made of."""
    seen[event.kind] += 1
    for operation in event.line.get("data", {}).get("data", ()):
        seen[operation["op"]] += 1
        if operation.get("object_type") in ("places", "people", "visits"):
            seen["raw row"] += 1
    for line in (event.line, event.more if event.kind == "diff and complete" else {}):
        if "partial_checkpoint_complete" in line:
            seen["partial checkpoint"] += 1
    for sql in event.statements:
        if " logs" in sql:
            seen["insert-only row"] += 1
        if " places" in sql or " visits" in sql:
            seen["captured raw row"] += 1
