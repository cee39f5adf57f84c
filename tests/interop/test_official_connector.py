"""`@powersync/node` with a connector for the write API: what stays in its queue, and what is in Postgres (write path reference, 2.3)."""

from __future__ import annotations

import contextlib
import json
import uuid
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from syncline.backend import TablePolicy
from syncline.backend.persisters.base import WriteRefused
from syncline.testing.proxy import Direction, FaultyProxy
from syncline.testing.waiting import eventually
from tests.interop.node_sdk import NodeSdk
from tests.interop.sdk_device import WAIT_S
from tests.interop.sync_stack import TABLES, SyncStack
from tests.interop.upload_front import Fault, upload_front
from tests.support.backend_server import running_backend

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

POLICIES = {"lists": TablePolicy(owner="owner_id"), "todos": TablePolicy(owner=None)}
NOW_OUT_SQL = """
CREATE FUNCTION fail_now() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER fail_now BEFORE INSERT ON lists FOR EACH ROW WHEN (NEW.name = 'not now') EXECUTE FUNCTION fail_now();
"""
BACK_SQL = "DROP TRIGGER fail_now ON lists; DROP FUNCTION fail_now();"


@dataclass(frozen=True)
class UploadingDevice:
    """A device with a database and a user of its own, offline until it connects."""

    sdk: NodeSdk
    stack: SyncStack
    user: str

    async def write(self, *names: str | None) -> None:
        """A local transaction for each name. None is a name that Postgres refuses."""
        for name in names:
            await self.sdk.ask(
                "execute", sql="INSERT INTO lists (id, name) VALUES (?, ?)", parameters=[str(uuid.uuid4()), name]
            )

    async def connect(self, backend: str, *, max_transactions: int = 50) -> None:
        await self.sdk.ask(
            "connectWith",
            connector="batch",
            endpoint=self.stack.service.base_url,
            backend=backend,
            userId=self.user,
            maxTransactions=max_transactions,
        )

    async def waiting(self) -> int:
        """Entries in the queue, from the table itself."""
        [row] = await self.sdk.rows("SELECT count(*) AS n FROM ps_crud")
        return row["n"]

    async def wait_for_queue(self, length: int) -> None:
        async def has_it() -> bool:
            return await self.waiting() == length

        await eventually(has_it, timeout_s=WAIT_S, what=f"{length} entries in the queue")

    async def verdicts(self) -> list[list[str]]:
        return (await self.sdk.ask("notes"))["uploads"]

    async def shows(self, *names: str) -> None:
        """Wait until the device has exactly these rows, with the owner that only the backend can have set."""
        rows = [{"name": name, "owner_id": self.user} for name in sorted(names)]
        await self.sdk.until("SELECT name, owner_id FROM lists ORDER BY name", rows, timeout_s=WAIT_S)

    def stored(self) -> list[str]:
        """The user's rows in Postgres."""
        return sorted(row["name"] for row in self.stack.lists_of(self.user))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node() -> AsyncGenerator[NodeSdk]:
    async with NodeSdk() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def device(node: NodeSdk, stack: SyncStack, user: str, tmp_path: Path) -> AsyncGenerator[UploadingDevice]:
    options = node.database_options(tmp_path, "device", large=False)
    await node.ask("open", **options, tables=TABLES, counted=["lists"])
    yield UploadingDevice(node, stack, user)
    await node.ask("close")


@contextlib.contextmanager
def backend_with(stack: SyncStack, **options: Any) -> Generator[str]:
    with running_backend(stack.source.dsn, service_url=stack.service.base_url, tables=POLICIES, **options) as url:
        yield url


@pytest.mark.requirement(44, 128, 137)
@pytest.mark.parametrize(
    ("on_fatal", "verdicts"),
    [
        ("stop", [["success", "fatal_error", "not_attempted"], ["success"]]),
        ("skip", [["success", "fatal_error", "success"]]),
    ],
)
async def test_good_bad_good_leaves_the_good_ones(
    device: UploadingDevice, stack: SyncStack, on_fatal: str, verdicts: list[list[str]]
) -> None:
    await device.write("first", None, "last")
    with backend_with(stack, on_fatal=on_fatal) as url:
        await device.connect(url)
        await device.wait_for_queue(0)
        assert device.stored() == ["first", "last"]
        assert await device.verdicts() == verdicts
        await device.shows("first", "last")  # the refused row is gone from the device too


async def test_a_retryable_error_keeps_it_and_what_is_behind_it_but_not_what_was_accepted(
    device: UploadingDevice, stack: SyncStack
) -> None:
    await device.write("first", "not now", "last")
    stack.source.execute(NOW_OUT_SQL)
    try:
        await device.connect(stack.backend_url)
        await device.wait_for_queue(2)
        assert device.stored() == ["first"]

        async def was_tried_again() -> bool:
            return (await device.verdicts()).count(["retryable_error", "not_attempted"]) >= 2

        await eventually(was_tried_again, timeout_s=WAIT_S)
        assert await device.waiting() == 2
        assert "not now" in (await device.sdk.ask("status"))["uploadError"]
    finally:
        stack.source.execute(BACK_SQL)
    await device.wait_for_queue(0)
    await device.shows("first", "last", "not now")


def always(_error: WriteRefused, _attempt: object) -> bool:
    """Every refusal is for the device to decide."""
    return True


async def test_what_the_app_must_decide_stays_until_it_has(device: UploadingDevice, stack: SyncStack) -> None:
    await device.write("first", None, "last")
    with backend_with(stack, on_fatal="skip", requires_client_handling=always) as url:
        await device.connect(url)

        async def was_asked_twice() -> bool:
            return (await device.sdk.ask("notes"))["decisions"].count("NOT_NULL_VIOLATION") >= 2

        await eventually(was_asked_twice, timeout_s=WAIT_S)
        assert await device.waiting() == 2
        assert device.stored() == ["first"]  # `skip` is for refusals that are the backend's own to handle
        await device.write("corrected")  # waits too: a correction has to take another way, or the app to let go
        asked = len((await device.sdk.ask("notes"))["decisions"])

        async def was_asked_again() -> bool:
            return len((await device.sdk.ask("notes"))["decisions"]) > asked

        await eventually(was_asked_again, timeout_s=WAIT_S)
        assert (await device.waiting(), device.stored()) == (3, ["first"])
        await device.sdk.ask("notes", answer="complete")
        await device.wait_for_queue(0)
        await device.shows("corrected", "first", "last")


PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"
FAULTS = {
    "a gateway's page": Fault(502, PAGE, "text/html"),
    "a login page": Fault(200, PAGE, "text/html"),
    "malformed, after the commit": Fault(200, '{"results": [{"status"', commits=True),
    "too few results, after the commit": Fault(200, '{"results": [{"status": "success"}]}', commits=True),
    "too many results, after the commit": Fault(
        200, json.dumps({"results": [{"status": "success"}] * 4}), commits=True
    ),
    "no results, after the commit": Fault(200, "{}", commits=True),
    "a server error": Fault(500, '{"message": "The backend failed."}'),
}


@pytest.mark.requirement(47)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_an_answer_that_settles_nothing_takes_nothing_off_the_queue(
    device: UploadingDevice, stack: SyncStack, fault: Fault
) -> None:
    await device.write("first", None, "last")
    async with upload_front(stack.backend_url) as front:
        front.fault = fault
        await device.connect(front.url)
        await eventually(lambda: front.faults_answered >= 2, timeout_s=WAIT_S)
        assert await device.waiting() == 3
        assert device.stored() == (["first"] if fault.commits else [])
        assert (await device.sdk.ask("status"))["uploadError"]
        front.fault = None
        await device.wait_for_queue(0)
        assert front.uploads[0] == front.uploads[front.faults_answered]  # the same again
        await device.shows("first", "last")
        await device.sdk.ask("disconnect")


@pytest.mark.requirement(20)
async def test_a_401_in_the_middle_is_answered_with_a_new_token(device: UploadingDevice, stack: SyncStack) -> None:
    await device.write("first", "second", "third")
    async with upload_front(stack.backend_url) as front:
        front.fault, front.passes = Fault(401, '{"message": "The token has expired.", "code": "PSYNC_S2103"}'), 1
        await device.connect(front.url, max_transactions=1)
        await eventually(lambda: front.faults_answered >= 2, timeout_s=WAIT_S)
        assert await device.waiting() == 2
        assert device.stored() == ["first"]
        front.fault = None
        await device.wait_for_queue(0)
        assert front.tokens_given >= 4  # for the stream, for the first upload, and after each refusal
        await device.shows("first", "second", "third")
        await device.sdk.ask("disconnect")


@pytest.mark.requirement(28)
async def test_an_answer_that_is_lost_after_the_commit_leaves_every_row_once(
    device: UploadingDevice, stack: SyncStack
) -> None:
    await device.write("first", None, "last")
    async with FaultyProxy("127.0.0.1", int(stack.backend_url.rpartition(":")[2])) as proxy:
        cut = proxy.cut_after(Direction.TO_CLIENT, marker=b'"results"', forward=False)
        await device.connect(proxy.url)
        await device.wait_for_queue(0)
        assert cut.is_set()
        assert device.stored() == ["first", "last"]
        sent = [bytes(one.sent).count(b"POST /api/data") for one in proxy.connections]
        assert sum(sent) >= 2
        await device.shows("first", "last")
        await device.sdk.ask("disconnect")
