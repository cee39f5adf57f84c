"""The cases of `tests/fixtures/sync_config/cases`: their format, and reading it strictly. The format is explained in the README there.

What is written must mean something: unknown keys, keys that stand twice, and expectations that could not fail are errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct, field

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.problems import ProblemKind, Severity

__all__ = [
    "CASES",
    "Case",
    "CaseError",
    "Connection",
    "ExpectedBucket",
    "ExpectedConnection",
    "ExpectedProblem",
    "ExpectedRow",
    "Row",
    "Step",
    "load_cases",
    "read_case",
]

CASES = Path(__file__).parents[1] / "fixtures/sync_config/cases"


class CaseError(ValueError):
    """A case that is not written as the README says, or that could not fail."""


class Blob(Struct, frozen=True, forbid_unknown_fields=True):
    """A blob in a row: `{$blob: 0aff}`."""

    hex: str = field(name="$blob")


class StoredLookup(Struct, frozen=True, forbid_unknown_fields=True):
    """An entry that a row leaves in a parameter index: under `key` stand rows of `outputs`."""

    key: list[str | int | float]
    outputs: list[list[str | int | float | None]]


class ExpectedRow(Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of a row. `within` (written `in`) are all its buckets; what is None is not looked at."""

    within: list[str] | None = field(name="in", default=None)
    type: str | None = None
    id: str | None = None
    data: dict[str, str | int | float | None] | None = None
    lookups: list[StoredLookup] | None = None
    errors: int = 0


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the source; `table` is `name` or `schema.name`."""

    table: str
    row: dict[str, str | int | float | Blob | None]
    expect: ExpectedRow | None = None

    @property
    def identity(self) -> tuple[str, object]:
        """What a later state of the row is recognised by: its `id`, or all of it where it has none."""
        return self.table, self.row.get("id", tuple(self.row.items()))

    @property
    def values(self) -> dict[str, SyncValue]:
        """The row as evaluators get it."""
        return {
            name: bytes.fromhex(value.hex) if isinstance(value, Blob) else value for name, value in self.row.items()
        }


class Subscription(Struct, frozen=True, forbid_unknown_fields=True):
    """A subscription that a client makes."""

    stream: str
    parameters: dict[str, Any] | None = None
    override_priority: int | None = None


class ExpectedReason(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a connection has a bucket: a default stream by its name, or a subscription by its place in the request."""

    default: str | None = None
    sub: int | None = None


class ExpectedBucket(Struct, frozen=True, forbid_unknown_fields=True):
    """What is expected of a bucket beside its name."""

    priority: int | None = None
    reasons: list[ExpectedReason] | None = None


class ExpectedError(Struct, frozen=True, forbid_unknown_fields=True):
    """A subscription that could not be evaluated: its place in the request, or `default`."""

    stream: str
    subscription: int | str
    says: str


class ExpectedConnection(Struct, frozen=True, forbid_unknown_fields=True):
    """What a connection gets. `sees` has, for each table of the client, ids or whole rows; `errors` are all that there are."""

    buckets: list[str] | dict[str, ExpectedBucket] | None = None
    sees: dict[str, list[str | dict[str, str | int | float | None]]] | None = None
    errors: list[ExpectedError] = field(default_factory=list[ExpectedError])

    @property
    def gets_something(self) -> bool:
        """Whether the expectation would fail if nothing at all came."""
        return bool(self.buckets or self.sees or self.errors)


class Connection(Struct, frozen=True, forbid_unknown_fields=True):
    """A client with a token (by default that of u1)."""

    expect: ExpectedConnection
    name: str = ""
    token: dict[str, Any] = field(default_factory=lambda: {"sub": "u1"})
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    subscriptions: list[Subscription] = field(default_factory=list[Subscription])
    include_defaults: bool = True


class StepConnection(Struct, frozen=True, forbid_unknown_fields=True):
    """What a connection of the case gets after a step."""

    name: str
    expect: ExpectedConnection


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """A later state: rows that were added, changed (same table and `id`) or removed, and what holds then."""

    title: str
    rows: list[Row] = field(default_factory=list[Row])
    removed: list[Row] = field(default_factory=list[Row])
    connections: list[StepConnection] = field(default_factory=list[StepConnection])


class ExpectedProblem(Struct, frozen=True, forbid_unknown_fields=True):
    """A problem of the config: its place, and parts of what it says."""

    kind: ProblemKind
    line: int
    column: int
    severity: Severity = Severity.FATAL
    says: str = ""
    hint: str = ""


class Case(Struct, frozen=True, forbid_unknown_fields=True):
    """One file. `about` names the sentence of docs/reference/sync-config.md that it shows, `path` is under `cases`.

    `engine` is whether there is one for configs with `unstable_sqlite_expression_engine`.
    """

    title: str
    about: str
    config: str
    tables: dict[str, list[str]] | None = None
    prefix: str = ""
    engine: bool = True
    rows: list[Row] = field(default_factory=list[Row])
    connections: list[Connection] = field(default_factory=list[Connection])
    then: list[Step] = field(default_factory=list[Step])
    problems: list[ExpectedProblem] = field(default_factory=list[ExpectedProblem])
    requirements: list[int] = field(default_factory=list[int])
    path: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether one of the expected problems keeps the config from being used."""
        return any(problem.severity is Severity.FATAL for problem in self.problems)


def load_cases() -> list[Case]:
    """All cases, by path. Raises CaseError for one that is not written well, and for two of one title."""
    cases = [read_case(path.read_text("utf-8"), str(path.relative_to(CASES))) for path in sorted(CASES.rglob("*.yaml"))]
    titles: dict[str, str] = {}
    for case in cases:
        if titles.setdefault(case.title, case.path) != case.path:
            raise CaseError(f"{case.path} has the title of {titles[case.title]}")
    return cases


def read_case(text: str, path: str) -> Case:
    """The case that a file holds. Raises CaseError."""
    try:
        document = yaml.load(text, Loader=_UniqueKeyLoader)  # a SafeLoader
        case = msgspec.convert({**document, "path": path}, Case)
    except (yaml.YAMLError, msgspec.ValidationError, TypeError) as exc:
        raise CaseError(f"{path}: {exc}") from None
    for complaint in _complaints(case):
        raise CaseError(f"{path}: {complaint}")
    return case


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses maps that have a key twice: the first one would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"the key {key} stands here twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def _complaints(case: Case) -> Iterator[str]:
    """What keeps the case from proving anything."""
    rows = [*case.rows, *(row for step in case.then for row in step.rows)]
    expected_rows = [row.expect for row in rows if row.expect is not None]
    expected_connections = [
        connection.expect
        for connection in [*case.connections, *(connection for step in case.then for connection in step.connections)]
    ]
    if not case.title or not case.about:
        yield "a title and an about are needed"
    if not (case.problems or expected_rows or expected_connections):
        yield "nothing is expected"
    if case.is_refused and (case.rows or case.connections or case.then):
        yield "a config that is refused has no rows and no connections"
    yield from _row_complaints(expected_rows)
    yield from _connection_complaints(expected_connections)
    names = [connection.name for connection in case.connections]
    if len(set(names)) != len(names):
        yield "two connections have the same name, or none"
    for step in case.then:
        yield from _step_complaints(step, names)


def _row_complaints(expected: Sequence[ExpectedRow]) -> Iterator[str]:
    if any(row == ExpectedRow() for row in expected):
        yield "an expect of a row is empty"
    if any(not row.within and (row.type, row.id, row.data) != (None, None, None) for row in expected):
        yield "type, id and data of a row need the buckets that it is in"
    if expected and not any(row.within or row.lookups or row.errors for row in expected):
        yield "no row is expected in a bucket or lookup, or to fail: that would hold without rows too"


def _connection_complaints(expected: Sequence[ExpectedConnection]) -> Iterator[str]:
    if any([] in (connection.sees or {}).values() for connection in expected):
        yield "leave out the tables of which a connection sees nothing"
    if any(connection == ExpectedConnection() for connection in expected):
        yield "an expect of a connection is empty"
    if expected and not any(connection.gets_something for connection in expected):
        yield "no connection gets anything: that would hold for any config"


def _step_complaints(step: Step, names: Sequence[str]) -> Iterator[str]:
    if not (step.rows or step.removed):
        yield f"nothing changes in {step.title!r}"
    if not step.connections and not any(row.expect for row in step.rows):
        yield f"nothing is expected of {step.title!r}"
    if any(row.expect is not None for row in step.removed):
        yield f"nothing can be expected of the removed rows of {step.title!r}"
    for connection in step.connections:
        if not connection.name or connection.name not in names:
            yield f"{step.title!r} speaks of a connection {connection.name!r} that the case does not have"
