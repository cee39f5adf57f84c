"""Recorded replication scenarios: reading the steps, playing their SQL, and what a recording's buckets come to after each step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psycopg

__all__ = ["BucketState", "Player", "Scenario", "Step", "plain_name", "read_scenario", "recorded_row", "strict_row"]

FIRST_SYNC = "first sync"
_QUOTED_OR_CONSTANT = re.compile(r'("(?:[^"\\]|\\.)*")|-?\b(?:NaN|Infinity)\b')
_QUOTED_OR_NOT = re.compile(r"""\$\$.*?\$\$|'[^']*'|"[^"]*"|--[^\n]*|.""", re.DOTALL)


@dataclass
class BucketState:
    """A bucket reduced as a client does: row data by (object type, object id, subkey), and its announced number of operations.

    `summarised` is set once the recording left out operations: from then on only `op_count` is known.
    """

    objects: dict[tuple[str, str, str], dict[str, Any]] = field(
        default_factory=dict[tuple[str, str, str], dict[str, Any]]
    )
    op_count: int = 0
    summarised: bool = False

    def apply(self, op: str, key: tuple[str, str, str], row: dict[str, Any]) -> None:
        """Reduce one operation; `row` is a PUT's."""
        match op:
            case "PUT":
                self.objects[key] = row
            case "REMOVE":
                self.objects.pop(key, None)
            case "CLEAR":
                self.objects.clear()
            case _:
                assert op == "MOVE", op

    def rows(self) -> list[str]:
        """The objects without their subkeys, as sorted texts that compare; numbers keep their types."""
        return sorted({json.dumps([kind, one, data], sort_keys=True) for (kind, one, _), data in self.objects.items()})


@dataclass(frozen=True)
class Step:
    """A step: its SQL, whether the service is down meanwhile, and what the recording shows after it, by bucket."""

    label: str
    sql: str
    is_down: bool
    printed: str  # what the SQL printed: results and errors
    recorded: dict[str, list[str]]
    recorded_counts: dict[str, int]  # of buckets whose operations were left out


@dataclass(frozen=True)
class Scenario:
    """A scenario; its first step is the first sync, without SQL."""

    name: str
    setup: str
    sync_config: str
    steps: tuple[Step, ...]


def plain_name(bucket: str) -> str:
    """A bucket name without its version."""
    return re.sub(r"^\d+#", "", bucket)


def strict_row(text: str) -> dict[str, Any]:
    """Our row data as a value. Raises ValueError for not-a-number and infinities: JSON has none, and clients refuse them."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return cast("dict[str, Any]", json.loads(text, parse_constant=refuse))


def recorded_row(text: str) -> dict[str, Any]:
    """Recorded row data as a value; not-a-number and infinities, which the reference writes bare, are null with us, also inside lists."""
    value = cast("dict[str, Any]", json.loads(text, parse_constant=lambda _constant: None))
    return {name: _without_constants(one) if isinstance(one, str) else one for name, one in value.items()}


def _without_constants(text: str) -> str:
    """JSON inside of a text column, with null for the constants that JSON has not; other texts as they are."""
    if not text.startswith(("[", "{")):
        return text
    return _QUOTED_OR_CONSTANT.sub(lambda found: found[1] or "null", text)


def read_scenario(folder: Path, name: str) -> Scenario:
    """Read NAME.sql, NAME.yaml and NAME.ndjson. Raises AssertionError where the steps of script and recording differ."""
    parts = re.split(r"(?m)^-- step: (.*)$", (folder / f"{name}.sql").read_text())
    heads = [FIRST_SYNC, *parts[1::2]]
    sections = list(_recorded_steps((folder / f"{name}.ndjson").read_text()))
    labels = [re.sub(r"\s*\[[^\]]*\]", "", head).strip() for head in heads]
    assert labels == [label for label, _ in sections], "script and recording have the same steps"
    buckets: dict[str, BucketState] = {}
    steps: list[Step] = []
    for head, label, sql, (_, lines) in zip(heads, labels, ["", *parts[2::2]], sections, strict=True):
        for line in lines:
            _reduce_line(buckets, line)
        steps.append(
            Step(
                label,
                sql,
                "[down]" in head,
                "; ".join(line.removeprefix("# result: ") for line in lines if line.startswith("# result: ")),
                {bucket: state.rows() for bucket, state in buckets.items() if not state.summarised},
                {bucket: state.op_count for bucket, state in buckets.items() if state.summarised},
            )
        )
    return Scenario(name, parts[0], (folder / f"{name}.yaml").read_text(), tuple(steps))


def _recorded_steps(text: str) -> Iterator[tuple[str, list[str]]]:
    """Labels and lines of the steps; the fresh client at the end is left out."""
    label, lines = "", list[str]()
    for line in text.partition("# fresh client at the end")[0].splitlines():
        if line == f"# {FIRST_SYNC}" or line.startswith("# step: "):
            if label:
                yield label, lines
            label, lines = re.sub(r"^# (step: )?| \(service down meanwhile\)$", "", line), []
        else:
            lines.append(line)
    yield label, lines


def _reduce_line(buckets: dict[str, BucketState], line: str) -> None:
    if line.startswith("# data-summary "):
        data = json.loads(line.removeprefix("# data-summary "))
        buckets[plain_name(data["bucket"])].summarised = True
    if not line.startswith("{"):
        return
    [(kind, value)] = json.loads(line).items()
    match kind:
        case "checkpoint":
            present = {plain_name(entry["bucket"]) for entry in value["buckets"]}
            for gone in set(buckets) - present:
                del buckets[gone]
            _announce(buckets, value["buckets"])
        case "checkpoint_diff":
            for gone in value["removed_buckets"]:
                buckets.pop(plain_name(gone), None)
            _announce(buckets, value["updated_buckets"])
        case "data":
            for op in value["data"]:
                key = (op.get("object_type") or "", op.get("object_id") or "", op.get("subkey") or "")
                buckets[plain_name(value["bucket"])].apply(op["op"], key, recorded_row(op.get("data") or "{}"))
        case _:
            pass


def _announce(buckets: dict[str, BucketState], entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        buckets.setdefault(plain_name(entry["bucket"]), BucketState()).op_count = entry["count"]


class Player:
    """Plays SQL as psql does: statement by statement in autocommit, going on after errors. `-- @A` switches to a named session."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._named: dict[str, psycopg.Connection[Any]] = {}

    def play(self, sql: str) -> list[str]:
        """Run a step's SQL; the messages of the statements that Postgres refused."""
        parts = re.split(r"(?m)^-- @(\w+).*$", sql)
        messages = list[str]()
        with psycopg.connect(self._dsn, autocommit=True) as unnamed:
            messages += _run(unnamed, parts[0])
        for name, part in zip(parts[1::2], parts[2::2], strict=True):
            if name not in self._named:
                self._named[name] = psycopg.connect(self._dsn, autocommit=True)
            messages += _run(self._named[name], part)
        return messages

    def close(self) -> None:
        """Close the named sessions."""
        for session in self._named.values():
            session.close()


def _run(connection: psycopg.Connection[Any], sql: str) -> list[str]:
    messages = list[str]()
    for statement in _statements(sql):
        try:
            connection.execute(statement.encode())
        except psycopg.Error as error:
            messages.append(error.diag.message_primary or str(error))
    return messages


def _statements(sql: str) -> list[str]:
    """Split at semicolons outside of quotes."""
    statements = [""]
    for piece in _QUOTED_OR_NOT.findall(sql):
        if piece == ";":
            statements.append("")
        elif not piece.startswith("--"):
            statements[-1] += piece
    return [statement for one in statements if (statement := one.strip())]
