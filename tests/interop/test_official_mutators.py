"""Calls of mutators from the official JavaScript SDKs: rows of an insert-only table, uploaded without ids of operations."""

from __future__ import annotations

import json
import uuid

import pytest

from syncline.testing.waiting import eventually
from tests.interop.sdk_device import WAIT_S, SdkDevice
from tests.interop.sync_stack import SyncStack

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]


@pytest.mark.requirement(150)
async def test_a_call_runs_once_and_its_result_comes_back(device: SdkDevice, stack: SyncStack, user: str) -> None:
    key = stack.add_list(user, "list")
    await device.synced(user)
    arguments = json.dumps({"id": key, "sign": "!"})
    for call_id in (str(uuid.uuid4()), "c-" + user, "c-" + user):  # the last one is the same call again
        await device.sdk.ask(
            "execute",
            sql="INSERT INTO syncline_mutations(id, name, args) VALUES (?, 'sign_list', ?)",
            parameters=[call_id, arguments],
        )
    await eventually(device.has_uploaded, timeout_s=WAIT_S)
    await device.sdk.until("SELECT name FROM lists", [{"name": "list!!"}])
    assert stack.lists_of(user) == [{"id": key, "name": "list!!", "owner_id": user}]
    assert set(await device.sdk.ask("uploads")) == {"success"}
