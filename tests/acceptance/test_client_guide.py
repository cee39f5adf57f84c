"""docs/howto/client.md: its code is that of the examples, or runs here; what its last table says of the status is what happens."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import runpy
import textwrap
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from syncline import client
from syncline.client import Schema, SyncDatabase, SyncState, SyncStatus
from syncline.client import errors as client_errors
from syncline.client.core.status import BlockedBy
from syncline.testing.link import RequestKind
from syncline.testing.service import MemoryDevice, MemoryService

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs/howto/client.md").read_text("utf-8")
BLOCKS: list[str] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
QUOTED = [block for block in BLOCKS if block.startswith("# examples/")]
RUN = [block for block in BLOCKS if block not in QUOTED]
SYNC_CONFIG = (EXAMPLES / "server/sync-config.yaml").read_text("utf-8")
DEADLINE_S = 60.0


@pytest.mark.parametrize("block", QUOTED, ids=[block.splitlines()[0].removeprefix("# examples/") for block in QUOTED])
def test_what_the_guide_quotes_is_in_the_example(block: str) -> None:
    """The examples themselves run in test_examples.py."""
    head, *lines = block.splitlines()
    program = (ROOT / head.removeprefix("# ")).read_text("utf-8").splitlines()
    found = ["\n".join(program[start : start + len(lines)]) for start in range(len(program))]
    assert "\n".join(lines) in [textwrap.dedent(text) for text in found]


@pytest.fixture
def schema() -> Schema:
    """The examples' schema."""
    return runpy.run_path(str(EXAMPLES / "todo_schema.py"))["SCHEMA"]


async def test_the_other_code_of_the_guide_runs(tmp_path: Path, schema: Schema) -> None:
    assert len(RUN) == 2
    shown: list[Any] = []
    async with asyncio.timeout(DEADLINE_S), SyncDatabase(tmp_path / "app.db", schema=schema) as db:
        names: dict[str, Any] = {"db": db, "new_id": client.new_id, "print": shown.append}
        for block in RUN:
            code = compile(block, "client.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            running = eval(code, names)
            if inspect.isawaitable(running):
                await running
        [transaction] = [each async for each in db.crud_transactions()]
    assert shown == ["Milk", ["Milk"]]
    assert names["count"] == 1
    assert [entry.table for entry in transaction.crud] == ["lists", "todos"]


def test_the_guide_names_things_that_exist() -> None:
    known = {*vars(client), *vars(client_errors), *SyncState.__members__, *client.Role.__members__}
    known |= {*client.OnSignOut.__members__, "BACKEND_URL", "POWERSYNC_URL", "POWERSYNC_TOKEN", "GET"}
    named = set(re.findall(r"`(?:client\.)?([A-Z]\w+)", PAGE))
    assert {name for name in named if not name.startswith("PSYNC_")} - known == set()
    fields = {*vars(SyncStatus), *SyncStatus.__dataclass_fields__}
    statuses = re.findall(r"^\| (?:SYNCED, )?`(\w+)` is ", PAGE, re.MULTILINE)
    assert len(statuses) >= 6
    assert set(statuses) <= fields
    assert {BlockedBy(value) for value in re.findall(r"`blocked_by` is `([^`]+)`", PAGE)} == set(BlockedBy)


@pytest.fixture
async def phone(tmp_path: Path, schema: Schema) -> AsyncGenerator[MemoryDevice]:
    async with (
        asyncio.timeout(DEADLINE_S),
        MemoryService(SYNC_CONFIG, schema=schema, folder=tmp_path) as service,
        service.device("phone.db", user_id="alice") as device,
    ):
        await device.db.wait_for_status(lambda status: status.state is SyncState.SYNCED)
        yield device


async def _until(device: MemoryDevice, is_so: Callable[[SyncStatus], bool]) -> SyncStatus:
    return await device.db.wait_for_status(is_so, timeout=DEADLINE_S)


async def test_a_cut_network_is_offline_and_not_an_error(phone: MemoryDevice) -> None:
    phone.link.offline = True
    phone.link.cut()
    status = await _until(phone, lambda status: status.download_error is not None)
    assert status.state is SyncState.OFFLINE
    assert isinstance(status.error, client_errors.ConnectionFailed)
    phone.link.offline = False
    phone.db.notify_online()
    await _until(phone, lambda status: status.state is SyncState.SYNCED)


async def test_a_refused_token_is_an_error(phone: MemoryDevice) -> None:
    phone.link.refuse(RequestKind.STREAM, 401, times=1000)
    phone.link.cut()
    status = await _until(phone, lambda status: isinstance(status.download_error, client_errors.AuthFailed))
    assert status.state is SyncState.ERROR


async def test_nobody_signed_in_is_offline(phone: MemoryDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody() -> None:
        return None

    monkeypatch.setattr(phone.connector, "fetch_credentials", nobody)
    await phone.db.connect(phone.connector)
    status = await _until(phone, lambda status: isinstance(status.download_error, client_errors.NotSignedIn))
    assert status.state is SyncState.OFFLINE


async def test_a_forbidden_upload_waits_and_is_shown(phone: MemoryDevice) -> None:
    phone.link.refuse(RequestKind.UPLOAD, 403, times=1000)
    await phone.db.execute("INSERT INTO lists (id, name) VALUES ('l1', 'Books')")
    status = await _until(phone, lambda status: status.upload_error is not None)
    assert isinstance(status.upload_error, client_errors.ServiceError)
    assert (status.upload_error.status_code, status.state) == (403, SyncState.ERROR)
    assert (await phone.db.get_upload_queue_stats()).count == 1


async def test_a_stream_that_does_not_exist_is_unknown(phone: MemoryDevice) -> None:
    async with phone.db.sync_stream("nots").subscribe():
        status = await _until(phone, lambda status: (it := status.for_stream("nots")) is not None and it.unknown)
    assert status.download_error is None
