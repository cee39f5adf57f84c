"""The service in memory does to devices what a real one does, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from syncline.client import Column, Schema, SyncDatabase, Table
from syncline.client.errors import ChecksumMismatch, ServiceError
from syncline.testing.link import RequestKind
from syncline.testing.service import MemoryDevice, MemoryService
from syncline.testing.simulated_loop import simulate

SCHEMA = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])
SYNC_CONFIG = """
config: {edition: 3}
streams:
  lists: {auto_subscribe: true, query: SELECT * FROM lists WHERE owner_id = auth.user_id()}
"""
OTHER_CONFIG = """
config: {edition: 3}
streams:
  names: {auto_subscribe: true, query: "SELECT id, name FROM lists WHERE owner_id = auth.user_id()"}
"""
RETRY_DELAY_S = 2.0

Scenario = Callable[[MemoryService, MemoryDevice], Coroutine[Any, Any, None]]


def play(scenario: Scenario, folder: Path, **options: Any) -> None:
    """One device of ada, in sync with one row."""

    async def main(_: object) -> None:
        async with MemoryService(SYNC_CONFIG, schema=SCHEMA, folder=folder, **options) as service:
            service.insert("lists", "first", name="first", owner_id="ada")
            async with service.device("phone.db", user_id="ada", retry_delay_s=RETRY_DELAY_S) as phone:
                await phone.db.wait_for_first_sync(timeout=10)
                await scenario(service, phone)

    simulate(main, seed=1)


async def names(device: MemoryDevice) -> list[str]:
    return [row["name"] for row in await device.db.get_all("SELECT name FROM lists ORDER BY name")]


async def in_sync(service: MemoryService, device: MemoryDevice, *, within_s: float) -> None:
    await asyncio.sleep(within_s)
    assert await names(device) == sorted(row["name"] for row in service.rows("lists") if row["owner_id"] == "ada")
    assert device.db.current_status.connected
    assert (await device.db.get_upload_queue_stats()).count == 0


async def write(db: SyncDatabase, name: str) -> None:
    await db.execute("INSERT INTO lists (id, name, owner_id) VALUES (uuid(), ?, 'ada')", [name])


def test_a_restarted_service_is_found_again(tmp_path: Path) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice) -> None:
        assert service.open_streams == 1
        await service.restart()
        service.insert("lists", "second", name="second", owner_id="ada")
        await write(phone.db, "third")
        await in_sync(service, phone, within_s=2 * RETRY_DELAY_S)

    play(scenario, tmp_path)


def test_a_service_that_is_gone_in_silence_is_noticed(tmp_path: Path) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice) -> None:
        await service.restart(silently=True)
        service.insert("lists", "second", name="second", owner_id="ada")
        await asyncio.sleep(1)
        assert phone.db.current_status.connected  # nobody can know yet
        await in_sync(service, phone, within_s=60)

    play(scenario, tmp_path)


@pytest.mark.parametrize("lose_write_checkpoints", [False, True])
def test_another_version_replaces_all_data(tmp_path: Path, lose_write_checkpoints: bool) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice) -> None:
        service.redeploy(OTHER_CONFIG, lose_write_checkpoints=lose_write_checkpoints)
        await write(phone.db, "second")
        await in_sync(service, phone, within_s=40)
        assert [row["owner_id"] for row in await phone.db.get_all("SELECT owner_id FROM lists")] == [None, None]

    play(scenario, tmp_path)


def test_revoked_tokens_are_replaced(tmp_path: Path) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice) -> None:
        service.revoke_tokens("bob")
        assert (service.open_streams, service.tokens_issued) == (1, 1)
        service.revoke_tokens("ada")
        await in_sync(service, phone, within_s=2 * RETRY_DELAY_S)
        assert (service.open_streams, service.tokens_issued) == (1, 2)

    play(scenario, tmp_path)


def test_compaction_under_an_offline_device(tmp_path: Path) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice) -> None:
        phone.link.offline = True
        for number in range(20):
            service.update("lists", "first", name=f"name {number}")
        service.insert("lists", "second", name="second", owner_id="ada")
        service.delete("lists", "first")
        assert service.compact() > 10
        phone.link.offline = False
        await in_sync(service, phone, within_s=2 * RETRY_DELAY_S)

    play(scenario, tmp_path)


def test_wrong_checksums_are_downloaded_again(tmp_path: Path) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice) -> None:
        errors: list[Exception | None] = []
        phone.db.register_listener(lambda status: errors.append(status.download_error))
        phone.link.corrupt_checksums()
        service.insert("lists", "second", name="second", owner_id="ada")
        await in_sync(service, phone, within_s=30)
        assert any(isinstance(error, ChecksumMismatch) for error in errors)
        assert phone.link.happened["checksum corrupted"] == 1

    play(scenario, tmp_path)


@pytest.mark.parametrize("kind", [RequestKind.STREAM, RequestKind.UPLOAD, RequestKind.WRITE_CHECKPOINT])
def test_a_gateways_page_is_shown_in_the_status_and_tried_again(tmp_path: Path, kind: RequestKind) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice) -> None:
        errors: list[Exception | None] = []
        phone.db.register_listener(lambda status: errors.extend((status.download_error, status.upload_error)))
        phone.link.refuse(kind, 502)
        service.cut_streams()
        await write(phone.db, "second")
        await in_sync(service, phone, within_s=6 * RETRY_DELAY_S)
        assert any(isinstance(error, ServiceError) and error.status_code == 502 for error in errors)

    play(scenario, tmp_path)


def test_replication_by_hand(tmp_path: Path) -> None:
    async def main(_: object) -> None:
        async with MemoryService(SYNC_CONFIG, schema=SCHEMA, folder=tmp_path, replicates=False) as service:
            service.insert("lists", "a", name="a", owner_id="ada")
            service.insert("lists", "b", name="b", owner_id="ada")
            assert service.replicate(1) == 1
            async with service.device("phone.db", user_id="ada") as phone:
                await phone.db.wait_for_first_sync(timeout=10)
                assert await names(phone) == ["a"]
                await write(phone.db, "c")
                await asyncio.sleep(5)
                assert phone.db.current_status.blocked_by == "write_checkpoint"
                assert await names(phone) == ["a", "c"]
                service.replicate()
                await in_sync(service, phone, within_s=5)

    simulate(main, seed=1)


def test_unknown_rows_of_the_source_are_told(tmp_path: Path) -> None:
    async def scenario(service: MemoryService, phone: MemoryDevice) -> None:
        with pytest.raises(LookupError):
            service.update("lists", "nowhere", name="x")
        with pytest.raises(LookupError):
            service.delete("lists", "nowhere")

    play(scenario, tmp_path)
