"""Conflict strategies on Postgres, beyond the contract of all persisters: nobody comes in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from syncline.backend import TablePolicy
from syncline.backend.conflicts import Apply, Decision
from syncline.backend.conflicts.strategy import ConflictStrategy
from syncline.backend.persisters.base import Write
from tests.conformance.persister_suite.conflicts import Watching
from tests.integration.backend.conftest import Uploads, make_backend, patch, put

DOCUMENTS_SQL = "CREATE TABLE documents (id text PRIMARY KEY, owner_id text NOT NULL, title text);"
Make = Callable[..., Uploads]


@pytest.fixture
def documents(uploads: Uploads) -> Make:
    """Makes a backend whose documents have a strategy."""
    uploads.database.execute(DOCUMENTS_SQL)

    def make(conflicts: ConflictStrategy, **options: Any) -> Uploads:
        policy = TablePolicy(owner="owner_id", conflicts=conflicts, **options)
        return Uploads(make_backend(uploads.persister, {"documents": policy}), uploads.persister, uploads.database)

    return make


def doc_put(row_id: str = "d", **data: Any) -> dict[str, Any]:
    return put(row_id, table="documents", **data)


def doc_patch(row_id: str = "d", **data: Any) -> dict[str, Any]:
    return patch(row_id, table="documents", **data)


async def test_the_row_is_locked_from_the_question_to_the_effect(documents: Make) -> None:
    watching = Watching("title")
    uploads = documents(watching)
    await uploads.succeed(doc_put(title="1"))

    def look(write: Write) -> Decision:
        with uploads.database.connect() as other, pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("SELECT FROM documents WHERE id = 'd' FOR UPDATE NOWAIT")
        return Apply(write)

    watching.answer = look
    await uploads.succeed(doc_patch(title="2"))


async def test_an_answer_that_is_none_is_a_failure_too(documents: Make) -> None:
    watching = Watching("title")
    watching.answer = lambda _: None  # pyright: ignore[reportAttributeAccessIssue] - a rule that answers what it must not
    [result] = await documents(watching).send([doc_put(title="1")])
    assert result["status"] == "retryable_error"
