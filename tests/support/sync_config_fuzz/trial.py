"""Judges one text: it must end in a plan that works, or in problems with places inside of the text. Nothing else may be raised."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from syncline.errors import LimitExceeded, SyncConfigError
from syncline.protocol.bucket_names import SyncValue
from syncline.protocol.requests import StreamsRequest, StreamSubscription
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.plan import ConnectionData
from syncline.sync_config.problems import Problem, ProblemKind, Severity

__all__ = ["Ending", "TookTooLong", "try_config"]

# The slowest takes half a second; a busy machine is three times as slow as a quiet one.
COMPILE_MAX_S = 2.0  # CPU seconds that a text may take to a plan or to problems
RETRIES = 2
GIVE_UP_AFTER_S = 15.0  # CPU seconds after which a trial is broken off, so that it can be reported

_KINDS = list(ProblemKind)
DOCUMENT_KINDS = frozenset(_KINDS[: _KINDS.index(ProblemKind.SQL_SYNTAX)])
"""Problems of the YAML document: the first ones; all others are of queries."""

COLUMNS = (
    "id", "owner_id", "list_id", "name", "tags", "meta", "region", "amount", "done", "owner", "a", "value",
)  # fmt: skip
ROWS: tuple[tuple[SyncValue, ...], ...] = (
    ("r1", "u1", "L1", "Ünï 'code'", '["a","b"]', '{"a":{"b":1},"l":[1,2]}', "eu", 7, 1, "u1", "u1", 0.5),
    (5, None, 2**63, "\ud800", "not JSON", b"blob", float("inf"), -1e300, None, "", b"", float("nan")),
)
TOKEN = {"sub": "u1", "role": "admin", "k": [1, "a"], "tags": ["a", "b"], "nested": {"lists": ["L1", 5]}, "p": 1.5}
PARAMETERS = {"region": "eu", "tag": "a", "p": None, "a": {"b": 1}}
TABLES_MAX = 5  # tables of a plan that rows are evaluated for


@dataclass(frozen=True, slots=True)
class Ending:
    """How a trial ended, what the compiling took in CPU seconds, and what was found to be wrong ("" for nothing)."""

    what: str
    took_s: float
    wrong: str = ""


class TookTooLong(Exception):
    """A trial was broken off."""


def try_config(text: str) -> Ending:
    """Compile a text, and use the plan if it comes to one.

    One that takes too long is tried again: CPU seconds grow with the other work of a machine, and what matters is the text.
    """
    with _broken_off_after(GIVE_UP_AFTER_S):
        ending = _try_config(text)
        for _ in range(RETRIES if ending.took_s > COMPILE_MAX_S and ending.what != "crash" else 0):
            ending = min(ending, _try_config(text), key=lambda tried: tried.took_s)
        return ending


def _try_config(text: str) -> Ending:
    started = time.process_time()
    try:
        plan = compile_sync_config(text)
    except SyncConfigError as exc:
        took_s = time.process_time() - started
        try:
            wrong = _wrong_problems(text, exc)
        except Exception as wrong_exc:
            wrong = _described(wrong_exc)
        fatal = [problem for problem in exc.problems if problem.severity is Severity.FATAL]
        in_document = any(problem.kind in DOCUMENT_KINDS for problem in fatal)
        return _timed("problems of the document" if in_document else "problems of queries", took_s, wrong)
    except Exception as exc:
        return Ending("crash", time.process_time() - started, _described(exc))
    took_s = time.process_time() - started
    try:
        wrong = "; ".join(filter(None, (_wrong_place(text, problem) for problem in plan.warnings)))
        _use(plan)
    except Exception as exc:
        wrong = _described(exc)
    return _timed("plan", took_s, wrong)


def _timed(what: str, took_s: float, wrong: str) -> Ending:
    if not wrong and took_s > COMPILE_MAX_S:
        wrong = f"took {took_s:.2f} s"
    return Ending(what, took_s, wrong)


def _described(exc: Exception) -> str:
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    return f"{type(exc).__name__}: {exc}"[:200] + f" in {Path(frame.filename).name}, line {frame.lineno}"


def _wrong_problems(text: str, error: SyncConfigError) -> str:
    problems: Sequence[Problem] = error.problems
    if not any(problem.severity is Severity.FATAL for problem in problems):
        return "refused without a fatal problem"
    if not str(error).strip() or not all(str(problem).strip() for problem in problems):
        return "problems that say nothing"
    return next(filter(None, (_wrong_place(text, problem) for problem in problems)), "")


def _wrong_place(text: str, problem: Problem) -> str:
    """What is wrong with the place of a problem; "" for nothing."""
    lines = text.split("\n")
    if not 1 <= problem.line <= len(lines):
        return f"line {problem.line} of {len(lines)}"
    if not 1 <= problem.column <= len(lines[problem.line - 1]) + 1:
        return f"column {problem.column} in a line of {len(lines[problem.line - 1])}"
    if not 0 <= problem.start_offset <= problem.end_offset <= len(text):
        return f"offsets {problem.start_offset} to {problem.end_offset} in a text of {len(text)}"
    if sum(len(line) + 1 for line in lines[: problem.line - 1]) + problem.column - 1 != problem.start_offset:
        return "line and column are not where the offset is"
    return "" if str(problem).strip() else "a problem that says nothing"


def _use(plan: CompiledPlan) -> None:
    """Evaluate rows of the plan's tables, and resolve a connection with the lookups that they gave."""
    entries: dict[str, list[str]] = {}
    for pattern in plan.table_patterns[:TABLES_MAX]:
        schema, name = pattern.schema.replace("%", "x"), pattern.name.replace("%", "x")
        evaluator = plan.row_evaluator(schema, name, COLUMNS, "1#")
        for evaluation in evaluator.batch(ROWS):
            for entry in evaluation.lookups:
                entries.setdefault(entry.lookup, []).append(entry.output)
    subscriptions = [StreamSubscription(stream.name, PARAMETERS, None) for stream in plan.streams[:3]]
    query = plan.query_buckets(
        ConnectionData(TOKEN, PARAMETERS),
        StreamsRequest(True, subscriptions),
        "1#",
        buckets_max=1000,
        parameter_results_max=1000,
    )
    try:
        wanted = next(query)
        while True:
            wanted = query.send({name: entries.get(name, []) for name in wanted})
    except (StopIteration, LimitExceeded):
        return


@contextmanager
def _broken_off_after(seconds: float) -> Generator[None]:
    """Raise TookTooLong inside of the block when it has taken so many seconds of CPU."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLong(f"broken off after {seconds} s")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
