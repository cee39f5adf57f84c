"""Uploads into the database of a test, as `POST /api/data` takes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from syncline.auth.signer import TokenSigner
from syncline.backend import AuthenticatedUser, BackendAuth, SyncBackend, TablePolicy, via
from syncline.backend.persisters.base import Persister
from tests.conformance.persister_suite.subject import Observer, Subject

__all__ = ["DEADLINE_S", "TABLES", "Uploads", "delete", "patch", "put"]

DEADLINE_S = 60.0  # seconds for what should take a moment: the machine may be busy

TABLES = {
    "lists": TablePolicy(owner="owner_id"),
    "odd": TablePolicy(owner=None, table='odd "name" 100%'),
    "types": TablePolicy(owner=None),
    "changing": TablePolicy(owner=None),
    "boards": TablePolicy(owner="owner_id", tenants={"org_id": "org"}),
    "app_lists": TablePolicy(owner=via("boards", "board_id"), table="app lists 100%"),
    "todos": TablePolicy(owner=via("app_lists", "list_id")),
}


@dataclass(frozen=True)
class Uploads:
    """A backend over the subject's persister, and another connection beside it."""

    backend: SyncBackend
    persister: Persister
    subject: Subject
    observer: Observer

    @staticmethod
    def over(
        persister: Persister, subject: Subject, observer: Observer, tables: dict[str, TablePolicy] | None = None
    ) -> Uploads:
        """A backend with policies for the suite's tables, or with others."""
        auth = BackendAuth(
            TokenSigner.from_secret(b"0" * 32, kid="k"), audience="tests", service_url="http://127.0.0.1"
        )
        backend = SyncBackend(persister=persister, auth=auth, tables=TABLES if tables is None else tables)
        return Uploads(backend, persister, subject, observer)

    def with_tables(self, **tables: TablePolicy) -> Uploads:
        """The same with other policies."""
        return Uploads.over(self.persister, self.subject, self.observer, tables)

    async def send(
        self, *transactions: list[dict[str, Any]], user: str = "ann", org: int = 1, client_id: str | None = None
    ) -> list[dict[str, Any]]:
        """The verdicts, as JSON says them."""
        body: dict[str, Any] = {"transactions": [{"crud": crud} for crud in transactions]}
        if client_id is not None:
            body["client_id"] = client_id
        answer = await self.backend.handle_upload(json.dumps(body).encode(), AuthenticatedUser(user, {"org": org}))
        return json.loads(msgspec.json.encode(answer))["results"]

    async def code(self, *crud: dict[str, Any], user: str = "ann", org: int = 1) -> tuple[str, int | None]:
        """Error code and operation index of a transaction that is refused."""
        [result] = await self.send(list(crud), user=user, org=org)
        assert result["status"] == "fatal_error", result
        return result["failed_operation"]["error_code"], result["failed_operation"].get("operation_index")

    async def succeed(self, *crud: dict[str, Any], user: str = "ann", org: int = 1) -> None:
        """A transaction that must go through."""
        results = await self.send(list(crud), user=user, org=org)
        assert results == [{"status": "success"}], results

    async def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """What another connection sees."""
        return await self.observer.rows(statement, **parameters)


def put(row_id: str, table: str = "lists", *, crud_id: int | None = None, **data: Any) -> dict[str, Any]:
    """A new row of a device."""
    return _entry("PUT", row_id, table, crud_id, data)


def patch(row_id: str, table: str = "lists", *, crud_id: int | None = None, **data: Any) -> dict[str, Any]:
    """Changed columns of a row."""
    return _entry("PATCH", row_id, table, crud_id, data)


def delete(row_id: str, table: str = "lists", *, crud_id: int | None = None) -> dict[str, Any]:
    """A row that is gone."""
    return _entry("DELETE", row_id, table, crud_id, None)


def _entry(op: str, row_id: str, table: str, crud_id: int | None, data: dict[str, Any] | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"op": op, "table": table, "id": row_id}
    return entry | ({} if data is None else {"op_data": data}) | ({} if crud_id is None else {"client_op_id": crud_id})
