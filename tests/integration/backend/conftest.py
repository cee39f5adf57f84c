from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from syncline.auth.signer import TokenSigner
from syncline.backend import AuthenticatedUser, BackendAuth, SyncBackend, TablePolicy
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.testing.postgres import ScratchDatabase

SCHEMA_SQL = """
CREATE TABLE lists (
  id text PRIMARY KEY,
  name text NOT NULL,
  note text DEFAULT 'none',
  slug text UNIQUE,
  stars integer CHECK (stars < 6),
  parent_id text REFERENCES lists (id),
  owner_id text NOT NULL
);
CREATE TABLE "odd ""name"" 100%" (id uuid PRIMARY KEY, "a ""b"" 5%s" text);
"""
TABLES = {"lists": TablePolicy(owner="owner_id"), "odd": TablePolicy(owner=None, table='odd "name" 100%')}


@dataclass(frozen=True)
class Uploads:
    """Uploads into one database, as `POST /api/data` takes them."""

    backend: SyncBackend
    persister: PostgresPersister
    database: ScratchDatabase

    async def send(
        self, *transactions: list[dict[str, Any]], user: str = "ann", client_id: str | None = None
    ) -> list[dict[str, Any]]:
        """The verdicts, as JSON says them."""
        body: dict[str, Any] = {"transactions": [{"crud": crud} for crud in transactions]}
        if client_id is not None:
            body["client_id"] = client_id
        answer = await self.backend.handle_upload(json.dumps(body).encode(), AuthenticatedUser(user))
        return json.loads(msgspec.json.encode(answer))["results"]

    async def code(self, *crud: dict[str, Any], user: str = "ann") -> tuple[str, int | None]:
        """Error code and operation index of a transaction that is refused."""
        [result] = await self.send(list(crud), user=user)
        assert result["status"] == "fatal_error", result
        return result["failed_operation"]["error_code"], result["failed_operation"].get("operation_index")

    async def succeed(self, *crud: dict[str, Any], user: str = "ann") -> None:
        """A transaction that must go through."""
        assert await self.send(list(crud), user=user) == [{"status": "success"}]


def put(row_id: str, table: str = "lists", *, crud_id: int | None = None, **data: Any) -> dict[str, Any]:
    return _entry("PUT", row_id, table, crud_id, data)


def patch(row_id: str, table: str = "lists", *, crud_id: int | None = None, **data: Any) -> dict[str, Any]:
    return _entry("PATCH", row_id, table, crud_id, data)


def delete(row_id: str, table: str = "lists", *, crud_id: int | None = None) -> dict[str, Any]:
    return _entry("DELETE", row_id, table, crud_id, None)


def _entry(op: str, row_id: str, table: str, crud_id: int | None, data: dict[str, Any] | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"op": op, "table": table, "id": row_id}
    return entry | ({} if data is None else {"op_data": data}) | ({} if crud_id is None else {"client_op_id": crud_id})


def make_backend(persister: PostgresPersister, tables: dict[str, TablePolicy] = TABLES) -> SyncBackend:
    auth = BackendAuth(TokenSigner.from_secret(b"0" * 32, kid="k"), audience="tests", service_url="http://127.0.0.1")
    return SyncBackend(persister=persister, auth=auth, tables=tables)


@pytest.fixture
async def uploads(postgres_database: ScratchDatabase) -> AsyncGenerator[Uploads]:
    """A backend over a database of its own, with the tables of `SCHEMA_SQL`."""
    postgres_database.execute(SCHEMA_SQL)
    persister = PostgresPersister(postgres_database.dsn)
    backend = make_backend(persister)
    await backend.open()
    yield Uploads(backend, persister, postgres_database)
    await backend.close()
