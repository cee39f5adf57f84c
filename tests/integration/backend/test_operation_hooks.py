"""`before_op` and `after_op`: inside the database transaction of the write, with its connection."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from syncline.backend import SyncBackend
from syncline.backend.hooks import Hooks
from syncline.backend.persisters.base import Write, WriteRefused
from tests.integration.backend.conftest import TABLES, Uploads, put

AUDIT_SQL = "CREATE TABLE audit (written text PRIMARY KEY)"
SEEN = "SELECT written FROM audit ORDER BY written"


def hooked(uploads: Uploads, **hooks: Any) -> Uploads:
    """The same database behind a backend with hooks."""
    uploads.database.execute(AUDIT_SQL)
    persister = uploads.persister
    backend = SyncBackend(persister=persister, auth=uploads.backend.auth, tables=TABLES, hooks=Hooks(**hooks))
    return Uploads(backend, persister, uploads.database)


async def note(connection: Any, write: Write) -> None:
    """An audit trail that is there if and only if the write is."""
    name = f"{write.context.user_id} {write.op} {write.table}/{write.id}"
    await connection.execute("INSERT INTO audit VALUES (%s)", (name,))


@pytest.mark.requirement(146)
async def test_hooks_around_a_write_share_its_transaction(uploads: Uploads) -> None:
    rows: list[list[Any]] = []

    async def look(connection: Any, write: Write) -> None:
        cursor = await connection.execute("SELECT name FROM lists WHERE id = %s", (write.id,))
        rows.append(await cursor.fetchall())

    async def note_and_look(connection: Any, write: Write) -> None:
        await look(connection, write)
        await note(connection, write)

    audited = hooked(uploads, before_op=look, after_op=note_and_look)
    await audited.succeed(put("a", name="1"), put("b", name="2"))
    assert rows == [[], [("1",)], [], [("2",)]]
    assert uploads.database.execute(SEEN) == [("ann PUT lists/a",), ("ann PUT lists/b",)]
    assert await audited.code(put("c", name="3"), put("d", name="4", stars=9)) == ("CHECK_VIOLATION", 1)
    assert len(uploads.database.execute(SEEN)) == 2


@pytest.mark.requirement(146)
async def test_a_hook_can_refuse_a_write_and_with_it_the_transaction(uploads: Uploads) -> None:
    async def only_a(_connection: Any, write: Write) -> None:
        if write.id != "a":
            raise WriteRefused("CLOSED", "No more lists.")

    assert await hooked(uploads, before_op=only_a).code(put("a", name="1"), put("b", name="2")) == ("CLOSED", 1)
    assert uploads.database.execute("SELECT count(*) FROM lists") == [(0,)]


@pytest.mark.requirement(146)
async def test_what_a_hook_s_own_statement_violates_is_a_refusal_with_its_code(uploads: Uploads) -> None:
    audited = hooked(uploads, after_op=note)
    uploads.database.execute("INSERT INTO audit VALUES ('ann PUT lists/a')")
    assert await audited.code(put("a", name="1")) == ("UNIQUE_VIOLATION", 0)


@pytest.mark.requirement(146)
async def test_a_hook_that_fails_leaves_the_write_with_the_device(
    uploads: Uploads, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_connection: Any, write: Write) -> None:
        raise KeyError(write.data["name"])

    audited = hooked(uploads, after_op=fail)
    with caplog.at_level(logging.INFO):
        [result] = await audited.send([put("a", name="a value")])
    assert result["status"] == "retryable_error"
    assert "a value" not in caplog.text + str(result)
    assert uploads.database.execute("SELECT count(*) FROM lists") == [(0,)]


@pytest.mark.requirement(146)
async def test_a_hook_that_waits_for_the_database_too_long_is_ended(uploads: Uploads) -> None:
    async def wait(connection: Any, _write: Write) -> None:
        await connection.execute("SELECT pg_sleep(600)")

    impatient = hooked(uploads, before_op=wait, seconds_max=0.1)
    [result] = await impatient.send([put("a", name="1")])
    assert result["status"] == "retryable_error"
    assert uploads.database.execute("SELECT count(*) FROM lists") == [(0,)]
    await uploads.succeed(put("a", name="1"))  # the connection is good for others
