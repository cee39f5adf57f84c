"""The backend in memory (`syncline.testing`) gives the verdicts of the Postgres persister, and leaves the same rows, upload by upload.

`SYNCLINE_MEMORY_SEED` plays a run again.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from syncline.backend import TablePolicy, via
from syncline.backend.conflicts import (
    BusinessRules,
    ChangeLog,
    Delta,
    InOrder,
    MergeValues,
    OnStale,
    RecordConflicts,
    Reject,
    ThreeWay,
    Transitions,
    VersionColumn,
    merge_json,
    merge_set,
    merge_text,
)
from syncline.backend.conflicts.strategy import CurrentRow
from syncline.backend.persisters.base import Persister, RetryLater, UploadIdentity, Write, WriteContext, WriteRefused
from syncline.backend.persisters.device_values import device_time
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.policies import TableRules
from syncline.protocol.crud import CrudOperation, ResultStatus, TransactionResult, UpdateType, content_hash
from syncline.protocol.crud import CrudTransaction as WireTransaction
from syncline.testing.memory_backend import MemoryPersister
from syncline.testing.memory_source import MemorySource
from syncline.testing.postgres import ScratchDatabase
from tests.conformance.persister_suite.guards import INTO_OR_OUT

SEED = int(os.environ.get("SYNCLINE_MEMORY_SEED") or random.randrange(2**32))
TRANSACTIONS = 4_000 if os.environ.get("SYNCLINE_SOAK") else 400
START = datetime(2026, 1, 2, 10, tzinfo=UTC)

COLUMNS = {
    "name": "text",
    "note": "text",
    "stars": "bigint",
    "version": "bigint",
    "quantity": "bigint",
    "state": "text",
    "changed": "text",
    "owner_id": "text",
    "org_id": "bigint",
    "board_id": "text",
    "list_id": "text",
    "device_id": "text",
    "deleted_at": "timestamptz",
    "gone": "boolean",
}
RECORDS = {
    "write_conflicts": "user_id table_name row_id conflict_type client_data server_data resolved created_at",
    "field_changes": "user_id client_id change_id table_name row_id op field_name old_value new_value status error_code created_at",
}
INTEGERS = ["stars", "version", "quantity", "org_id", "gone"]


def union(current: str, arriving: str) -> str:
    """A value that merges itself; numbers are none of its kind."""
    if arriving.isdecimal():
        raise ValueError
    return " ".join(sorted({*current.split(), *arriving.split()}))


def few_stars(write: Write, current: CurrentRow | None) -> Reject | None:
    """A rule of the app's own, with a bug for one value."""
    stars = write.data.get("stars")
    if stars == 7:
        raise KeyError("stars")
    few = stars is None or current is None or current["stars"] is None or stars <= current["stars"] + 2
    return None if few else Reject("TOO_MANY_STARS", "Not so many at once.", {"most": 2})


JUDGED_BY = {
    "app_lists": ["board_id"],
    "todos": ["list_id"],
    "all_of_it": ["board_id", "version"],
    "stale": ["changed"],
    "stock": ["quantity"],
    "merged": ["name", "note"],
    "steps": ["state", "version"],
    "crdt": ["name"],
    "ruled": ["stars"],
    **{table: ["version"] for table in ("versions", "counted", "recorded", "logged")},
}
"""What decides about a write of a table: most writes have it."""
VERSION = VersionColumn("version")
POLICIES = {
    "lists": TablePolicy(owner="owner_id"),
    "everybodys": TablePolicy(owner=None),
    "replaced": TablePolicy(owner="owner_id", columns=["name", "note"], put_mode="replace", device="device_id"),
    "marked": TablePolicy(owner="owner_id", soft_delete="deleted_at"),
    "flagged": TablePolicy(owner=None, tenants={"org_id": "org"}, soft_delete="gone", device="device_id"),
    "boards": TablePolicy(owner="owner_id", tenants={"org_id": "org"}),
    "app_lists": TablePolicy(owner=via("boards", "board_id"), table="the lists"),
    "todos": TablePolicy(owner=via("app_lists", "list_id"), soft_delete="deleted_at"),
    "versions": TablePolicy(owner="owner_id", conflicts=VERSION, soft_delete="deleted_at"),
    "counted": TablePolicy(owner=None, conflicts=VersionColumn("version", counted_by_device=False)),
    "stale": TablePolicy(owner=None, conflicts=OnStale("changed")),
    "stock": TablePolicy(owner=None, conflicts=Delta("quantity")),
    "merged": TablePolicy(owner=None, conflicts=ThreeWay({"name": merge_text, "note": merge_json, "state": merge_set})),
    "steps": TablePolicy(
        owner=None, conflicts=InOrder(Transitions("state", {"a": "b", "b": "ac"}, first="a"), VERSION)
    ),
    "crdt": TablePolicy(owner=None, conflicts=MergeValues({"name": union})),
    "ruled": TablePolicy(owner="owner_id", conflicts=BusinessRules(few_stars, columns=["stars"])),
    "recorded": TablePolicy(owner="owner_id", conflicts=RecordConflicts(VERSION)),
    "logged": TablePolicy(owner="owner_id", conflicts=ChangeLog(VERSION), soft_delete="gone"),
    "failures": TablePolicy(owner=None, conflicts=ChangeLog(only_failed=True)),
    "all_of_it": TablePolicy(
        owner=via("boards", "board_id"),
        columns=["name", "version", "board_id"],
        put_mode="replace",
        soft_delete="deleted_at",
        device="device_id",
        conflicts=RecordConflicts(VERSION),
    ),
}
Story = tuple[tuple[Any, ...], ...]
STORIES: dict[str, Story] = {
    "lists": (
        ("PUT", {"name": "1", "note": "kept"}),
        ("PUT", {"name": "2"}),
        ("PATCH", {"name": None}),
        ("DELETE", None),
    ),
    "replaced": (("PUT", {"name": "1", "note": "x"}), ("PUT", {"name": "2"}), ("PUT", {}), ("PATCH", {"note": "y"})),
    **{
        table: (
            *(("PUT", {"name": "1"}), ("DELETE", None), ("PATCH", {"name": "no"}), ("DELETE", None)),
            *(("PUT", {"note": "back"}), ("PATCH", {"name": "2"}), ("DELETE", None)),
        )
        for table in ("marked", "flagged")
    },
    "versions": (
        *(
            ("PUT", {"version": 4}),
            ("PATCH", {"name": "1", "version": 5}),
            ("PATCH", {"name": "2", "version": 3}, "CONFLICT"),
        ),
        *(("DELETE", None, "CONFLICT", {"version": 3}), ("DELETE", None, "success", {"version": 5})),
        *(("PATCH", {"name": "gone"}), ("PUT", {"version": 1})),
    ),
    "stale": (
        *(("PUT", {"changed": START.isoformat()}), ("PATCH", {"changed": "2025-01-01", "name": "old"}, "CONFLICT")),
        ("PATCH", {"name": "no time"}, "VALIDATION_ERROR"),
    ),
    "stock": (("PUT", {"quantity": 5}), ("PATCH", {"quantity": 7}, "IDENTITY_REQUIRED", {"quantity": 5})),
    "merged": (
        *(("PUT", {"name": "a\nb\nc\n"}), ("PATCH", {"name": "A\nb\nc\n"}, "success", {"name": "a\nb\nc\n"})),
        ("PATCH", {"name": "a\nb\nC\n"}, "success", {"name": "a\nb\nc\n"}),
        ("PATCH", {"name": "x\nb\nc\n"}, "CONFLICT", {"name": "a\nb\nc\n"}),
    ),
    "steps": (
        *(("PUT", {"state": "b"}, "VALIDATION_ERROR"), ("PUT", {"state": "a", "version": 1})),
        *(
            ("PATCH", {"state": "b", "version": 2}),
            ("PATCH", {"state": "b", "version": 2}),
            ("PATCH", {"version": 9}, "CONFLICT"),
        ),
    ),
    "crdt": (("PUT", {"name": "a"}), ("PATCH", {"name": "b"}), ("PATCH", {"name": "1"}, "INVALID_DATA")),
    "ruled": (
        *(("PUT", {"stars": 0}), ("PATCH", {"stars": 6}, "TOO_MANY_STARS"), ("PATCH", {"stars": 7}, "UnknownFailure")),
    ),
    "recorded": (("PUT", {"version": 4, "name": "theirs"}), ("PATCH", {"version": 2, "name": "mine"})),
    "logged": (
        ("PUT", {"version": 4}),
        ("PATCH", {"version": 2, "name": "lost"}),
        ("DELETE", None),
        ("PATCH", {"name": "x"}),
    ),
    "failures": (("PATCH", {"name": "nobody's"}), ("DELETE", None)),
}
"""What is done to row 1 of a table: operation, values, what becomes of it, the values that the device says were there before."""
WRITES_RECORDS = {"recorded": ["write_conflicts"], "logged": ["field_changes"], "failures": ["field_changes"]}
RULES = TableRules(POLICIES)
TABLES = [policy.table or name for name, policy in POLICIES.items()]


@dataclass
class Pair:
    """The same uploads, into two backends."""

    observer: psycopg.Connection[Any]
    postgres: PostgresPersister
    source: MemorySource
    memory: MemoryPersister

    async def verdict(self, writes: list[dict[str, Any]], context: WriteContext, first_id: int | None = None) -> Any:
        """What both say of a transaction: the same."""
        crud = [_operation(write) for write in writes]
        answers = [await _verdict(persister, crud, context, first_id) for persister in (self.postgres, self.memory)]
        assert answers[0] == answers[1], (writes, context)
        return answers[0]

    def compare(self, *tables: str) -> None:
        """All rows of both, of these tables or of all."""
        for table in tables or (*TABLES, *RECORDS):
            columns = list(COLUMNS) if table in TABLES else RECORDS[table].split()
            listed = ", ".join(["id", *columns])
            stored = self.observer.execute(f'SELECT {listed} FROM "{table}"'.encode()).fetchall()
            rows = sorted([_device_row(row) for row in stored], key=str)
            held = [tuple(row[name] for name in ("id", *columns)) for row in self.source.rows(table)]
            assert sorted(held, key=str) == rows, table


@pytest.fixture
async def pair(postgres_database: ScratchDatabase) -> Any:
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    for table in TABLES:
        postgres_database.execute(f'CREATE TABLE "{table}" (id text PRIMARY KEY, {columns})')
    for table, policy in POLICIES.items():
        if policy.soft_delete == "gone":
            postgres_database.execute(f"ALTER TABLE {table} ALTER gone SET DEFAULT false, ALTER gone SET NOT NULL")
    for table, names in RECORDS.items():
        kinds = ", ".join(f"{name} {'boolean' if name == 'resolved' else 'text'}" for name in names.split())
        postgres_database.execute(f"CREATE TABLE {table} (id text PRIMARY KEY, {kinds})")
    postgres = PostgresPersister(postgres_database.dsn)
    await postgres.open()
    source = MemorySource(
        {table: [*COLUMNS] for table in TABLES} | {table: names.split() for table, names in RECORDS.items()},
        integers=dict.fromkeys(TABLES, INTEGERS) | {"write_conflicts": ["resolved"]},
    )
    with postgres_database.connect() as observer:
        yield Pair(observer, postgres, source, MemoryPersister(source))
    await postgres.close()


async def test_random_uploads_have_the_verdicts_and_the_effect_that_they_have_on_postgres(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"SYNCLINE_MEMORY_SEED={SEED}")
    chance = random.Random(SEED)
    seen: Counter[str] = Counter()
    next_ids: Counter[tuple[str, str]] = Counter()
    for number in range(TRANSACTIONS):
        context = _context(chance, number)
        writes = [_random_write(chance) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
        first_id = None
        if context.identified:
            device = context.user_id, str(context.client_id)
            back = chance.choice((0, 0, 0, 0, 0, 0, 0, 1, 2))
            first_id = max(1, next_ids[device] + 1 - back)
            next_ids[device] = max(next_ids[device], first_id + len(writes) - 1)
        for _ in range(chance.choice((1, 1, 1, 2))):  # an answer may be lost
            answer = await pair.verdict(writes, context, first_id)
            seen[answer[1]] += 1
        if number % 50 == 0:
            pair.compare()
    pair.compare()
    assert {"success", "repeat", "UNAUTHORIZED", "SCHEMA_MISMATCH", "CONFLICT"} <= seen.keys(), seen


async def test_each_kind_of_policy_does_here_what_it_does_on_postgres(pair: Pair) -> None:
    context = _context(random.Random(1), 0, user="ann", org=1)
    for table, story in STORIES.items():
        for number, (op, data, *rest) in enumerate(story):
            expected = str(rest.pop(0)) if rest else "success"
            write = {
                "op": op,
                "table": table,
                "id": "1",
                "op_data": data,
                "previous_values": rest.pop(0) if rest else None,
            }
            at = replace(context, received_at=START + timedelta(seconds=number))
            assert (await pair.verdict([write], at))[1] == expected, write
            pair.compare(table, *RECORDS)
        for records in WRITES_RECORDS.get(table, ()):
            assert pair.source.rows(records)


async def test_no_row_gets_into_or_out_of_another_users_tree_here_either(pair: Pair) -> None:
    ann, bob = (_context(random.Random(1), 0, user=user, org=1) for user in ("ann", "bob"))
    for context in (ann, bob):
        user = context.user_id
        for entry in (
            {"op": "PUT", "table": "boards", "id": f"{user}s board"},
            {"op": "PUT", "table": "app_lists", "id": f"{user}s list", "op_data": {"board_id": f"{user}s board"}},
            {"op": "PUT", "table": "todos", "id": f"{user}s todo", "op_data": {"list_id": f"{user}s list"}},
        ):
            assert (await pair.verdict([entry], context))[1] == "success"
    for attempt in INTO_OR_OUT:
        assert (await pair.verdict([attempt], ann))[1] == "UNAUTHORIZED", attempt
    pair.compare()


async def test_what_the_source_has_not_is_refused_with_the_same_words(pair: Pair) -> None:
    context = _context(random.Random(1), 0)
    put = UpdateType.PUT
    for write in (
        Write(put, "no table", "a", {}, None, 0, context=context),
        Write(put, "lists", "a", {}, ("nobody", "ann"), 3, context=context),
        Write(put, "lists", "a", {"odd": 1}, None, 1, context=context),
        Write(put, "lists", "a", {}, None, 0, soft_delete="removed", replaces=("x", "y"), context=context),
        Write(put, "lists", "a", {"name": "1"}, None, 0, conflict=VersionColumn("edition"), context=context),
    ):
        refusals: list[tuple[str, str, int | None]] = []
        for persister in (pair.postgres, pair.memory):
            with pytest.raises(WriteRefused) as caught:
                await persister.apply([write], None)
            refusals.append((caught.value.error_code, caught.value.message, caught.value.operation_index))
        assert refusals[0] == refusals[1]
    pair.compare()


async def _verdict(
    persister: Persister, crud: list[CrudOperation], context: WriteContext, first_id: int | None
) -> tuple[Any, ...]:
    """An upload as the backend's core treats it."""
    identity = None
    if first_id is not None:
        digest = content_hash(WireTransaction(crud))
        identity = UploadIdentity(context.user_id, str(context.client_id), first_id, first_id + len(crud) - 1, digest)
    try:
        writes = [RULES.write(index, entry, context) for index, entry in enumerate(crud)]
        result = await persister.apply(writes, identity)
    except WriteRefused as exc:
        if identity is not None and exc.error_code != "CLIENT_FORKED":
            refusal = TransactionResult(ResultStatus.FATAL_ERROR, message=exc.message)
            try:
                await persister.record_refusal(identity, refusal)
            except WriteRefused as fork:
                return ("refused", fork.error_code)
        # The words about a fork differ: those of a database are for a developer who looks at a real device.
        told = () if exc.error_code == "CLIENT_FORKED" else (exc.message, exc.operation_index, exc.details)
        return ("refused", exc.error_code, *told)
    except RetryLater as exc:
        return ("later", type(exc).__name__, str(exc))
    return (str(result.status), "repeat" if result.deduplicated else "success")


def _operation(write: Mapping[str, Any]) -> CrudOperation:
    return CrudOperation(
        op=UpdateType(write["op"]),
        table=write["table"],
        id=write["id"],
        op_data=write.get("op_data"),
        previous_values=write.get("previous_values"),
        metadata=write.get("metadata"),
    )


def _context(chance: random.Random, number: int, *, user: str | None = None, org: int | None = None) -> WriteContext:
    client_id = chance.choice((None, "phone", "laptop"))
    return WriteContext(
        user or chance.choice(("ann", "ann", "ann", "bob")),
        {"org": org or chance.choice((1, 1, 1, 2))},
        client_id,
        START + timedelta(seconds=number),
        identified=client_id is not None and chance.random() < 0.6,
    )


def _random_write(chance: random.Random) -> dict[str, Any]:
    op = chance.choice(("PUT", "PUT", "PUT", "PATCH", "PATCH", "PATCH", "DELETE"))
    row_id = chance.choice(("1", "2", "3", "three"))
    write: dict[str, Any] = {"op": op, "table": chance.choice([*POLICIES, "boards", "app_lists"]), "id": row_id}
    if op != "DELETE":
        write["op_data"] = _random_row(chance, write["table"])
    if op != "PUT" and chance.random() < 0.5:
        write["previous_values"] = _random_row(chance, write["table"])
    if chance.random() < 0.2:
        write["metadata"] = f"change {chance.randrange(3)}"
    return write


def _random_row(chance: random.Random, table: str) -> dict[str, Any]:
    kinds: dict[str, tuple[Any, ...]] = {
        "name": ("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n", "é%", "1", None),
        "note": ('{"k": 1}', '{"k": 1, "m": 2}', "no JSON", None),
        "stars": (0, 1, 3, 6, 7, None),
        "version": (1, 2, 3, 4, None),
        "quantity": (0, 5, -3, None),
        "state": ("a", "b", "c", '["x"]', '["x", "y"]'),
        "changed": (*((START + timedelta(seconds=n)).isoformat() for n in (0, 60, 3600)), "soon", None),
        "owner_id": ("bob",),
        "gone": (1,),
        "odd": (1,),
        "board_id": ("1", "2", "3", "nowhere", None),
        "list_id": ("1", "2", "3", "nowhere", None),
    }
    columns = POLICIES[table].columns
    usual = [name for name in kinds if name != "odd" and (columns is None or name in columns)]
    chosen = chance.sample(usual, min(len(usual), chance.randrange(5)))
    chosen += [name for name in JUDGED_BY.get(table, ()) if name not in chosen and chance.random() < 0.8]
    if chance.random() < 0.04:
        chosen.append("odd")
    return {name: chance.choice(kinds[name]) for name in chosen}


def _device_row(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row of Postgres in the values that devices know."""
    return tuple(
        device_time(value.astimezone(UTC).replace(tzinfo=None), has_zone=True)
        if isinstance(value, datetime)
        else int(value)
        if isinstance(value, bool)
        else value
        for value in row
    )
