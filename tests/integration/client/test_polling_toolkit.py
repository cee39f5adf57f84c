"""Polling against the backend toolkit: its change feed, its tokens and its write API, behind a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from syncline.auth.signer import TokenSigner
from syncline.backend import AuthenticatedUser, BackendAuth, ChangesPage, SyncBackend, TablePolicy
from syncline.backend.persisters.base import UploadIdentity, Write
from syncline.backend.starlette import backend_routes, development_login
from syncline.client import HttpConnector, SyncDatabase
from syncline.client.transport.polling import PollingTransport
from syncline.protocol.crud import ResultStatus, TransactionResult
from syncline.testing.waiting import eventually
from tests.integration.client.conftest import SCHEMA

PAGE_ROWS = 2
DEADLINE_S = 30.0


class Memory:
    """Rows of one table with the number of their last change: takes uploads, and tells what changed."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.changed: dict[str, int] = {}
        self.pages = 0
        self.applied: list[str] = []

    def put(self, row_id: str, **columns: Any) -> None:
        self.rows[row_id] = {**self.rows.get(row_id, {}), "id": row_id, **columns}
        self.changed[row_id] = max(self.changed.values(), default=0) + 1

    async def changes(self, user: AuthenticatedUser, since: str | None) -> ChangesPage:
        self.pages += 1
        assert user.user_id == "ann"
        later = sorted((at, row_id) for row_id, at in self.changed.items() if at > int(since or 0))
        page = later[:PAGE_ROWS]
        rows = [self.rows[row_id] for _, row_id in page]
        return ChangesPage({"lists": rows}, page[-1][0] if page else int(since or 0), len(later) > PAGE_ROWS)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def apply(self, writes: list[Write], identity: UploadIdentity | None) -> TransactionResult:
        for write in writes:
            self.put(write.id, **write.data)
            self.applied.append(write.id)
        return TransactionResult(ResultStatus.SUCCESS)

    async def record_refusal(self, identity: UploadIdentity, result: TransactionResult) -> TransactionResult:
        raise AssertionError

    async def next_checkpoint(self, user_id: str, client_id: str) -> int:
        raise AssertionError


@asynccontextmanager
async def backend(memory: Memory) -> AsyncGenerator[str]:
    """The toolkit's routes; gives the address."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    auth = BackendAuth(TokenSigner.from_secret(b"0" * 32, kid="test"), audience="tests", service_url=url)
    tables = {"lists": TablePolicy(owner="owner_id", columns=["name"])}
    core = SyncBackend(persister=memory, auth=auth, tables=tables, change_feed=memory)
    app = Starlette(routes=backend_routes(core, current_user=development_login()))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, ws="none"))
    serving = asyncio.create_task(server._serve([listening]))  # signals belong to the test run
    try:
        yield url
    finally:
        server.should_exit = True
        await serving
        listening.close()


@pytest.mark.requirement(82, 83)
async def test_three_pages_arrive_and_a_local_write_goes_back(tmp_path: Path) -> None:
    memory = Memory()
    for number in range(5):
        memory.put(f"l{number}", name=f"List {number}")
    async with backend(memory) as url, SyncDatabase(tmp_path / "app.db", schema=SCHEMA) as db:
        await db.connect(HttpConnector(url, user_id="ann"), transport=PollingTransport(interval_s=0.05))
        await db.wait_for_first_sync(timeout=DEADLINE_S)
        assert [row["id"] for row in await db.get_all("SELECT id FROM lists ORDER BY id")] == [
            f"l{number}" for number in range(5)
        ]
        assert memory.pages >= 3
        assert not memory.applied, "pulled rows are not uploaded"
        await db.execute("INSERT INTO lists(id, name) VALUES ('mine', 'from here')")

        async def settled() -> bool:
            waiting = (await db.get_upload_queue_stats()).count
            return not waiting and db.current_status.blocked_by is None and memory.applied == ["mine"]

        await eventually(settled, timeout_s=DEADLINE_S)
        assert memory.rows["mine"]["name"] == "from here"
        memory.put("mine", name="changed there")

        async def changed() -> bool:
            return (await db.get("SELECT name FROM lists WHERE id = 'mine'"))["name"] == "changed there"

        await eventually(changed, timeout_s=DEADLINE_S)
