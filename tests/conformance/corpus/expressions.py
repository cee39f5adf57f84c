"""The recorded expressions: one scalar expression over one row, in up to four settings, and our answers to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from syncline.errors import SyncConfigError
from syncline.storage.sqlite.expression_engine import SqliteExpressionEngine
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.evaluation.reference import reference_evaluator
from syncline.sync_config.plan import RowEvaluation
from syncline.sync_config.value_format import ValueFormat
from tests.conformance.corpus.cases import CORPUS
from tests.conformance.corpus.values import row_value

__all__ = ["SETTINGS", "Answer", "RecordedExpression", "deliberate_differences", "load_expressions", "our_answers"]

SETTINGS = ("edition3", "edition3_sqlite", "legacy", "legacy_fixed_json")

_CONFIGS = {
    "edition3": "config: {edition: 3}",
    "edition3_sqlite": "config: {edition: 3, unstable_sqlite_expression_engine: true}",
    "legacy": "config: {edition: 1}",
    "legacy_fixed_json": "config: {edition: 1, fixed_json_extract: true}",
}
_STREAM = "streams: {{s: {{auto_subscribe: true, query: {query}}}}}"
_DEFINITION = "bucket_definitions: {{s: {{data: [{query}]}}}}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of the expression: `value`, with its type, or without a value `absent` (a blob, or a column that is not there),
    `error` or `rejected`."""

    kind: str
    value: Any = None

    def __eq__(self, other: object) -> bool:
        """1 and 1.0 differ."""
        return (
            isinstance(other, Answer)
            and (self.kind, self.value) == (other.kind, other.value)
            and type(self.value) is type(other.value)
        )

    __hash__ = None  # type: ignore[assignment]  # is only compared


@dataclass(frozen=True, slots=True)
class RecordedExpression:
    """One line of the corpus. `answers` are the recorded ones by setting; `quirk` where accident decided them."""

    text: str
    feature: str
    row: Mapping[str, Any]
    answers: Mapping[str, Answer]
    quirk: str

    def __str__(self) -> str:
        return f"{self.text}  with  {json.dumps(dict(self.row), ensure_ascii=False)}"


@cache
def load_expressions() -> tuple[RecordedExpression, ...]:
    """The whole corpus, in its order."""
    lines = (CORPUS / "expressions.jsonl").read_text(encoding="utf-8").split("\n")
    return tuple(_recorded(json.loads(line)) for line in lines if line)


def _recorded(entry: Mapping[str, Any]) -> RecordedExpression:
    answers = {setting: _recorded_answer(entry[setting]) for setting in SETTINGS if setting in entry}
    answers.setdefault("legacy_fixed_json", answers["legacy"])  # recorded only where it differs
    return RecordedExpression(entry["expr"], entry["feature"], entry["row"], answers, entry.get("quirk", ""))


def _recorded_answer(recorded: Mapping[str, Any]) -> Answer:
    if "value" in recorded:
        value = recorded["value"]  # a tagged one is a real that is not finite: NULL here
        return Answer("value", None if isinstance(value, dict) else value)
    kind = next(iter(recorded))
    return Answer({"omitted": "absent", "missing": "absent"}.get(kind, kind))


def deliberate_differences(setting: str) -> dict[str, str]:
    """Expressions that differ on purpose in a setting, each with its reason (a row of docs/compatibility.md).

    The keys are `str()` of the recorded expressions; an entry of the file is an expression's text, which stands for all its rows, or
    a map of `expr` and `row`.
    """
    listed = yaml.safe_load((CORPUS / "differences.yaml").read_text(encoding="utf-8"))["expressions"]
    found: dict[str, str] = {}
    for group in listed:
        if setting in group["settings"]:
            for entry in group["entries"]:
                keys = list(_selected(entry))
                assert keys, f"{entry} selects no recorded expression"
                found.update((key, group["reason"]) for key in keys)
    return found


def _selected(entry: str | Mapping[str, Any]) -> Iterator[str]:
    for recorded in load_expressions():
        if entry == recorded.text or entry == {"expr": recorded.text, "row": recorded.row}:
            yield str(recorded)


@cache
def _engine() -> SqliteExpressionEngine:
    return SqliteExpressionEngine()


def our_answers(recorded: RecordedExpression, setting: str) -> list[Answer]:
    """The answers of the generated evaluator and of the one made of closures; one answer for a config that is refused."""
    query = json.dumps(f"SELECT id, ({recorded.text}) AS v FROM t", ensure_ascii=False)
    form = _STREAM if setting.startswith("edition3") else _DEFINITION
    try:
        plan = _plan(f"{_CONFIGS[setting]}\n{form.format(query=query)}\n")
    except SyncConfigError:
        return [Answer("rejected")]
    row = {"id": "r"} | {name: row_value(value, ValueFormat()) for name, value in recorded.row.items()}
    place = ("public", "t", tuple(row), "1#")
    evaluators = (plan.row_evaluator(*place), reference_evaluator(*plan.table_work(*place)))
    return [_answer(evaluate(tuple(row.values()))) for evaluate in evaluators]


@cache
def _plan(config: str) -> CompiledPlan:
    return compile_sync_config(config, engine=_engine())


def _answer(evaluation: RowEvaluation) -> Answer:
    if evaluation.errors:
        return Answer("error")
    assert len(evaluation.rows) == 1, "the query selects every row"
    data = json.loads(evaluation.rows[0].data)
    return Answer("value", data["v"]) if "v" in data else Answer("absent")
