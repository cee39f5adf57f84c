"""The sync config: rows through the generated evaluator of a table, and the compiling of a large config. No server, one process."""

from __future__ import annotations

import random
import statistics
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import msgspec
import yaml

from bench.table import Figure
from syncline.protocol.bucket_names import SyncValue
from syncline.replication.limits import EVALUATED_ROWS_MAX
from syncline.sync_config import compile_sync_config

__all__ = ["config_of", "run"]

Row = tuple[SyncValue, ...]
Input = TypeVar("Input")

COLUMNS = ("id", "owner_id", "title", "done", "archived", "created_at")
MEASURED = "SELECT id, title, done FROM todos WHERE owner_id = auth.user_id() AND archived = 0"
OTHERS = (
    """
  mine_{n}:
    auto_subscribe: true
    query: SELECT * FROM notes_{n} WHERE owner_id = auth.user_id() AND deleted_at IS NULL
""",
    """
  shared_{n}:
    priority: 1
    with:
      visible: SELECT project_id FROM members_{n} WHERE user_id = auth.user_id() AND role != 'guest'
    queries:
      - SELECT * FROM projects_{n} WHERE id IN visible
      - SELECT id, project_id, title, lower(state) AS state FROM tasks_{n} WHERE project_id IN visible AND archived = 0
      - SELECT * FROM comments_{n} WHERE project_id IN visible
""",
    """
  joined_{n}:
    query: >
      SELECT orders_{n}.* FROM orders_{n}
      JOIN shops_{n} ON orders_{n}.shop_id = shops_{n}.id
      JOIN staff_{n} ON staff_{n}.shop_id = shops_{n}.id
      WHERE staff_{n}.user_id = auth.user_id() AND shops_{n}.closed = 0
""",
    """
  chosen_{n}:
    accept_potentially_dangerous_queries: true
    query: |
      SELECT id, name, price * 100 AS cents, CASE WHEN stock > 0 THEN 'in' ELSE 'out' END AS stock FROM articles_{n}
      WHERE category = subscription.parameter('category')
        AND (published = 1 OR auth.parameter('role') = 'editor' OR owner_id = auth.user_id())
""",
)
"""Streams as people write them, one after the other, each over tables of its own."""

REPETITIONS = 11  # of each figure, interleaved; the median counts
PIECE_ROWS = 20_000  # rows of one repetition: some tens of milliseconds
KEYS = 200  # different owners among the rows


def run(*, rows: int, streams: int) -> Generator[Figure]:
    """All figures. `rows` are evaluated for each; `streams` stand in the large config."""
    yield from _evaluation(rows, streams)
    yield from _compiling(streams)


def config_of(streams: int, *, measured: bool = True) -> str:
    """A config of so many streams over other tables, after the measured one."""
    others = "".join(OTHERS[n % len(OTHERS)].format(n=n) for n in range(streams))
    first = f"\n  todos:\n    query: {MEASURED}\n" if measured else ""
    return f"config:\n  edition: 3\n\nstreams:{first}{others}"


def _evaluation(rows: int, streams: int) -> Generator[Figure]:
    alone, among_others = (_batches_through(config_of(count)) for count in (0, streams))
    for what, share in (("half of the rows pass", 0.5), ("all rows pass", 1.0)):
        pieces = _pieces(rows, share)
        checked = [evaluate(pieces[0]) for evaluate in (alone, among_others, _by_hand)]
        assert checked[0] == checked[1] == checked[2] > 0, "all of them find the same rows"
        alone_s, among_others_s, by_hand_s = _medians(pieces, alone, among_others, _by_hand)
        size = len(pieces[0])
        what = f"filter, key, three columns; {what}"
        budget = "1,000,000 rows/s"
        yield Figure("evaluate", what, size / alone_s, "rows/s", size / by_hand_s, "a loop written by hand", budget)
        what = f"the same, {streams} streams over other tables"
        yield Figure(
            "evaluate", what, size / among_others_s, "rows/s", size / alone_s, "without them", "ratio 0.95 to 1.05"
        )


def _compiling(streams: int) -> Generator[Figure]:
    text = config_of(streams, measured=False)
    compiled = compile_sync_config(text)
    assert len(compiled.streams) == streams
    compile_s, read_s = _medians([text], compile_sync_config, _read_yaml)
    what = f"compile {streams} streams of {len(text) // streams} characters"
    yield Figure("evaluate", what, compile_s, "s", read_s, "PyYAML reads the text", "1 s")


def _batches_through(config: str) -> Callable[[Sequence[Row]], int]:
    """Evaluation of rows of `todos` as replication does it: in batches."""
    evaluator = compile_sync_config(config).row_evaluator("public", "todos", COLUMNS, "1#")

    def evaluate(rows: Sequence[Row]) -> int:
        found = 0
        for start in range(0, len(rows), EVALUATED_ROWS_MAX):
            for evaluation in evaluator.batch(rows[start : start + EVALUATED_ROWS_MAX]):
                found += len(evaluation.rows)
        return found

    return evaluate


def _by_hand(rows: Sequence[Row]) -> int:
    """The least that a program for this one query would do: no other types, no errors, no lookups."""
    encode = msgspec.json.Encoder().encode
    found = 0
    for start in range(0, len(rows), EVALUATED_ROWS_MAX):
        placed: list[tuple[str, str, SyncValue, str]] = []
        for row_id, owner, title, done, archived, _ in rows[start : start + EVALUATED_ROWS_MAX]:
            if archived == 0:
                data = encode({"id": row_id, "title": title, "done": done}).decode()
                placed.append((f'1#todos|0["{owner}"]', "todos", row_id, data))
        found += len(placed)
    return found


def _read_yaml(text: str) -> None:
    yaml.compose(text, Loader=yaml.SafeLoader)  # pyright: ignore[reportUnknownMemberType]


def _pieces(rows: int, share: float) -> list[list[Row]]:
    """Rows in pieces of one repetition. Each value is an object of its own, as a decoder makes them."""
    draw = random.Random(7)
    owners = [uuid.UUID(int=draw.getrandbits(128)) for _ in range(KEYS)]

    def row(number: int) -> Row:
        archived = 0 if draw.random() < share else 1
        identity = str(uuid.UUID(int=draw.getrandbits(128)))
        title = f"Todo number {number:08}"
        return (identity, str(draw.choice(owners)), title, number % 2, archived, "2026-01-02T03:04:05.123456Z")

    size = min(rows, PIECE_ROWS)
    return [[row(number) for number in range(start, start + size)] for start in range(0, rows - size + 1, size)]


def _medians(pieces: Sequence[Input], *measured: Callable[[Input], object]) -> list[float]:
    """CPU seconds of each function over a piece: all over each piece, in turning order, so that a slow moment meets all."""
    took_s: list[list[float]] = [[] for _ in measured]
    for repetition in range(max(REPETITIONS, len(pieces))):
        piece = pieces[repetition % len(pieces)]
        for number in range(repetition, repetition + len(measured)):
            started = time.process_time()
            measured[number % len(measured)](piece)
            took_s[number % len(measured)].append(time.process_time() - started)
    return [statistics.median(samples) for samples in took_s]
