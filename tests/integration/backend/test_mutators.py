"""Mutators over a real Postgres: what a call may do, in which transaction, and how often."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
import sqlalchemy

from syncline.backend import AuthenticatedUser, BackendAuth, RowSecurity, SyncBackend
from syncline.backend.mutators import MutationRefused, MutatorCall, Mutators
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.backend.persisters.sqlalchemy import SQLitePersister
from tests.integration.backend.conftest import TABLES, Uploads, patch, put

SQL = """
CREATE TABLE counters (id text PRIMARY KEY, n integer NOT NULL);
INSERT INTO counters VALUES ('visits', 0);
"""


@dataclass
class Count:
    by: int = 1
    on: date | None = None


@dataclass
class Rename:
    id: str
    name: str


def make_mutators() -> Mutators:
    mutators = Mutators()

    @mutators.register("count")
    async def count(call: MutatorCall, args: Count) -> None:
        await call.connection.execute("UPDATE counters SET n = n + %s WHERE id = 'visits'", (args.by,))

    @mutators.register(allow=lambda context: context.claims.get("role") == "editor")
    async def rename(call: MutatorCall, args: Rename) -> None:
        await call.patch("lists", args.id, {"name": args.name})

    @mutators.register()
    async def make_two(call: MutatorCall, args: dict[str, Any]) -> None:
        await call.put("lists", args["id"] + "1", {"name": "first"})
        await call.put("lists", args["id"] + "2", {"name": args.get("second", "second"), "stars": args.get("stars", 1)})

    @mutators.register()
    async def refuse(call: MutatorCall, args: dict[str, Any]) -> None:
        await call.connection.execute("UPDATE counters SET n = 100")
        raise MutationRefused("ALREADY_TAKEN", "Somebody was faster.", details={"by": "another"})

    @mutators.register()
    async def broken(call: MutatorCall, args: dict[str, Any]) -> None:
        raise KeyError("secret value")

    @mutators.register()
    async def violate(call: MutatorCall, args: dict[str, Any]) -> None:
        await call.connection.execute("INSERT INTO counters VALUES ('visits', 1)")

    return mutators


def call(name: str, call_id: str = "c1", /, *, crud_id: int | None = None, **arguments: Any) -> dict[str, Any]:
    """One entry of the queue, as an insert-only table makes it."""
    data = {"name": name, "args": json.dumps(arguments)}
    return put(call_id, "syncline_mutations", crud_id=crud_id, **data)


def backend_of(persister: PostgresPersister, auth: BackendAuth) -> SyncBackend:
    return SyncBackend(persister=persister, auth=auth, tables=TABLES, mutators=make_mutators())


@pytest.fixture
def calls(uploads: Uploads) -> Uploads:
    """The tests' backend, with mutators."""
    uploads.database.execute(SQL)
    backend = backend_of(uploads.persister, uploads.backend.auth)
    return Uploads(backend, uploads.persister, uploads.database)


def visits(uploads: Uploads) -> int:
    return uploads.database.execute("SELECT n FROM counters WHERE id = 'visits'")[0][0]


def names(uploads: Uploads) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in uploads.database.execute("SELECT id, name FROM lists ORDER BY id")]


@pytest.mark.requirement(150)
async def test_a_call_runs_between_the_writes_of_its_transaction_and_under_the_policies(calls: Uploads) -> None:
    await calls.succeed(
        put("a", name="0"), call("make_two", id="m"), patch("m1", name="changed behind the call"), call("count", "c2")
    )
    assert names(calls) == [("a", "0"), ("m1", "changed behind the call"), ("m2", "second")]
    assert calls.database.execute("SELECT DISTINCT owner_id FROM lists") == [("ann",)]
    assert visits(calls) == 1


@pytest.mark.requirement(150)
async def test_a_refusal_takes_the_whole_transaction_back_and_tells_the_code(calls: Uploads) -> None:
    [result] = await calls.send([put("a", name="0"), call("refuse")])
    assert result["status"] == "fatal_error"
    assert result["failed_operation"] == {
        "error_code": "ALREADY_TAKEN",
        "message": "Somebody was faster.",
        "details": {"by": "another"},
        "operation_index": 1,
    }
    assert names(calls) == []
    assert visits(calls) == 0


REFUSED: list[tuple[dict[str, Any], str, Any]] = [
    (call("nothing"), "UNKNOWN_MUTATOR", None),
    (call("count", by="many"), "VALIDATION_ERROR", [{"field": "by", "rule": "Expected `int`, got `str`"}]),
    (call("count", on="tomorrow"), "VALIDATION_ERROR", [{"field": "on", "rule": "invalid"}]),
    (call("rename", id="a"), "UNAUTHORIZED", None),
    (
        put("c1", "syncline_mutations", name="count", args="[1]"),
        "VALIDATION_ERROR",
        [{"rule": "Expected `object`"}],
    ),
    (put("c1", "syncline_mutations", name="count", args="{"), "VALIDATION_ERROR", [{"rule": "invalid"}]),
    (put("c1", "syncline_mutations", args="{}"), "SCHEMA_MISMATCH", None),
    (patch("c1", "syncline_mutations", name="count"), "SCHEMA_MISMATCH", None),
    (call("make_two", id="m", stars=9), "CHECK_VIOLATION", None),
    (call("violate"), "UNIQUE_VIOLATION", None),
]


async def test_what_is_refused(calls: Uploads) -> None:
    for entry, code, details in REFUSED:
        [result] = await calls.send([put("a", name="0"), entry])
        failed = result["failed_operation"]
        assert (result["status"], failed["error_code"], failed["operation_index"]) == ("fatal_error", code, 1), entry
        assert failed.get("details") == details
        assert names(calls) == []


async def test_a_backend_without_mutators_takes_no_calls(uploads: Uploads) -> None:
    assert await uploads.code(call("count")) == ("SCHEMA_MISMATCH", 0)


async def test_a_mutator_that_fails_is_no_verdict_and_quotes_nothing(calls: Uploads) -> None:
    [result] = await calls.send([call("broken")])
    assert result["status"] == "retryable_error"
    assert "secret" not in json.dumps(result)


async def test_a_role_may_call_what_it_is_allowed(calls: Uploads) -> None:
    await calls.succeed(put("a", name="0"))
    body = json.dumps({"transactions": [{"crud": [call("rename", id="a", name="1")]}]}).encode()
    await calls.backend.handle_upload(body, AuthenticatedUser("ann", {"role": "editor"}))
    assert names(calls) == [("a", "1")]


@pytest.mark.requirement(150)
async def test_a_repeat_counts_once_with_ids_and_without(calls: Uploads) -> None:
    for _ in range(3):
        [result] = await calls.send([call("count", "x", crud_id=5)], client_id="device")
        assert result["status"] == "success"
    assert visits(calls) == 1
    for _ in range(3):
        await calls.succeed(call("count", "y"), put("a", name="0"))  # as official SDKs send it
    assert visits(calls) == 2
    # A device that takes a new client id sends again; its calls are known by their own ids.
    await calls.send([call("count", "x", crud_id=9)], client_id="new id")
    assert visits(calls) == 2
    assert await calls.code(call("count", "x", by=7)) == ("CONFLICT", 0)


async def test_repeats_that_arrive_together_count_once(calls: Uploads) -> None:
    await asyncio.gather(*(calls.succeed(call("count", "x")) for _ in range(6)))
    assert visits(calls) == 1


async def test_the_ids_of_calls_are_a_users_own(calls: Uploads) -> None:
    await calls.succeed(call("count", "x"), user="ann")
    await calls.succeed(call("count", "x"), user="bob")
    assert visits(calls) == 2


async def test_a_conflict_in_the_database_runs_the_whole_transaction_again(calls: Uploads) -> None:
    """Two calls that lock two rows in opposite order: Postgres ends one of them, and it is tried again."""
    calls.database.execute("INSERT INTO counters VALUES ('other', 0)")
    first_locks = asyncio.Barrier(2)
    attempts: list[str] = []
    mutators = Mutators()

    @mutators.register()
    async def both(who: MutatorCall, args: dict[str, Any]) -> None:
        attempts.append(args["first"])
        await who.connection.execute("UPDATE counters SET n = n + 1 WHERE id = %s", (args["first"],))
        if len(attempts) <= 2:
            await first_locks.wait()
        await who.connection.execute("UPDATE counters SET n = n + 1 WHERE id = %s", (args["then"],))

    backend = SyncBackend(persister=calls.persister, auth=calls.backend.auth, tables=TABLES, mutators=mutators)
    racing = Uploads(backend, calls.persister, calls.database)
    await asyncio.gather(
        racing.succeed(call("both", "1", first="visits", then="other")),
        racing.succeed(call("both", "2", first="other", then="visits"), user="bob"),  # calls of one user wait
    )
    assert calls.database.execute("SELECT n FROM counters ORDER BY id") == [(2,), (2,)]
    assert len(attempts) > 2  # one of them was ended, and begun again


async def test_row_level_security_holds_inside_of_a_call(uploads: Uploads) -> None:
    database = uploads.database
    database.execute(SQL)
    role = f"app_user_{database.dsn.rpartition('/')[2][-12:].replace('-', '_')}"
    database.execute(f"CREATE ROLE {role}; GRANT SELECT, UPDATE ON counters TO {role}; GRANT {role} TO CURRENT_USER")
    try:
        database.execute(
            "ALTER TABLE counters ENABLE ROW LEVEL SECURITY;"
            "CREATE POLICY own ON counters USING (current_setting('request.jwt.claims')::json ->> 'sub' = 'ann')"
        )
        persister = PostgresPersister(database.dsn, row_security=RowSecurity.as_role(role))
        secured = Uploads(backend_of(persister, uploads.backend.auth), persister, database)
        await secured.backend.open()
        try:
            await secured.succeed(call("count", "x"), call("count", "y"), user="ann")
            await secured.succeed(call("count", "z"), user="bob")  # sees no row
            assert visits(secured) == 2
        finally:
            await secured.backend.close()
    finally:
        with psycopg.connect(database.dsn, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}".encode())
            connection.execute(f"DROP ROLE {role}".encode())


async def test_mutators_work_with_other_databases_through_policies_and_their_connection(
    uploads: Uploads, tmp_path: Path
) -> None:
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as made:
        made.executescript(
            "CREATE TABLE lists (id TEXT PRIMARY KEY, name TEXT NOT NULL, stars INTEGER CHECK (stars < 6), owner_id TEXT);"
            "CREATE TABLE counters (id TEXT PRIMARY KEY, n INTEGER); INSERT INTO counters VALUES ('visits', 0)"
        )
    made.close()
    mutators = make_mutators()

    @mutators.register()
    async def visit(who: MutatorCall, args: dict[str, Any]) -> None:
        await who.connection.execute(sqlalchemy.text("UPDATE counters SET n = n + 1"))

    backend = SyncBackend(persister=SQLitePersister(path), auth=uploads.backend.auth, tables=TABLES, mutators=mutators)
    await backend.open()
    try:
        for _ in range(2):
            crud = [put("a", name="0"), call("make_two", "1", id="m"), call("visit", "2")]
            body = json.dumps({"transactions": [{"crud": crud}]}).encode()
            await backend.handle_upload(body, AuthenticatedUser("ann"))
        crud = [call("visit", "3"), call("make_two", "4", id="n", stars=9)]
        body = json.dumps({"transactions": [{"crud": crud}]}).encode()
        answer = json.loads(msgspec.json.encode(await backend.handle_upload(body, AuthenticatedUser("ann"))))
        assert answer["results"][0]["failed_operation"]["error_code"] == "CHECK_VIOLATION"
    finally:
        await backend.close()
    with sqlite3.connect(path) as reading:
        assert reading.execute("SELECT id, owner_id FROM lists ORDER BY id").fetchall() == [
            ("a", "ann"),
            ("m1", "ann"),
            ("m2", "ann"),
        ]
        assert reading.execute("SELECT n FROM counters").fetchall() == [(1,)]
    reading.close()
