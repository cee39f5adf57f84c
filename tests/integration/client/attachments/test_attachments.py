from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from syncline.client.attachments import (
    Attachment,
    AttachmentExists,
    AttachmentNotHere,
    AttachmentQueue,
    AttachmentReference,
    AttachmentState,
    AttachmentStats,
    AttachmentTooLarge,
)
from syncline.client.attachments.limits import ORPHAN_AGE_S
from syncline.client.attachments.verification import Verification
from syncline.client.errors import PendingWrites
from syncline.client.schema import SchemaInvalid
from syncline.errors import ClientError
from syncline.testing.waiting import eventually
from tests.integration.client.attachments.photo_device import (
    DEADLINE_S,
    PHOTO,
    REFERENCES,
    PhotoDevice,
    referring,
)
from tests.support.attachment_remote import RememberingRemote

S = AttachmentState


@pytest.mark.requirement(208)
async def test_a_file_and_its_row_are_saved_together_and_the_file_is_uploaded(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    queue = device.queue(remote)
    saved = await queue.save_file(
        PHOTO, file_extension=".jpg", media_type="image/jpeg", meta_data="m", update=referring("t1")
    )
    assert (saved.state, saved.size, saved.local_uri) == (S.QUEUED_UPLOAD, len(PHOTO), f"{saved.id}.jpg")
    assert await device.db.get("SELECT photo_id FROM todos") == (saved.id,)
    assert [entry.table for tx in await device.db.get_crud_transactions(9) for entry in tx.crud] == ["todos"]
    assert await queue.read(saved.id) == PHOTO  # at once, without a network
    assert await queue.stats() == AttachmentStats(uploads=1)
    async with queue:
        await queue.sync_storage(timeout_s=DEADLINE_S)
        assert remote.files == {f"{saved.id}.jpg": PHOTO}
        record = await device.record(saved.id)
        assert (record["state"], record["has_synced"], record["size"], record["media_type"], record["meta_data"]) == (
            S.SYNCED,
            1,
            len(PHOTO),
            "image/jpeg",
            "m",
        )
        assert await queue.stats() == AttachmentStats(synced=1)
    assert remote.closed == 1


@pytest.mark.requirement(208)
async def test_neither_the_row_nor_the_file_stays_when_one_of_them_fails(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    queue = device.queue(remote)

    async def failing(transaction: Any, attachment: Attachment) -> None:
        await referring("t1")(transaction, attachment)
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        await queue.save_file(PHOTO, update=failing)
    with pytest.raises(AttachmentTooLarge):
        await device.queue(remote, file_bytes_max=len(PHOTO) - 1).save_file(PHOTO, update=referring("t1"))
    inside = asyncio.Event()

    async def hanging(transaction: Any, attachment: Attachment) -> None:
        inside.set()
        await asyncio.Event().wait()

    saving = asyncio.create_task(queue.save_file(PHOTO, update=hanging))
    await inside.wait()
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert await device.db.get_all("SELECT * FROM todos") == []
    assert await device.db.get_all("SELECT * FROM attachments") == []
    assert device.files() == []


async def test_content_may_come_from_a_file_or_in_chunks_and_ids_are_used_once(
    device: PhotoDevice, remote: RememberingRemote, tmp_path: Path
) -> None:
    queue = device.queue(remote)
    source = tmp_path / "camera.jpg"
    source.write_bytes(PHOTO)

    async def chunks() -> AsyncIterator[bytes]:
        yield PHOTO[:7]
        yield PHOTO[7:]

    await queue.save_file(source, id="from-file")
    await queue.save_file(chunks(), id="in-chunks")
    for attachment_id in ("from-file", "in-chunks"):
        assert await queue.read(attachment_id) == PHOTO
    assert source.exists()
    with pytest.raises(AttachmentExists) as caught:
        await queue.save_file(b"other", id="from-file")
    assert "new id" in caught.value.hint
    assert await queue.read("from-file") == PHOTO
    with pytest.raises(AttachmentNotHere):
        await queue.read("unknown")


@pytest.mark.requirement(208)
async def test_files_of_rows_from_elsewhere_are_downloaded_and_can_be_followed(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    remote.files["p1.jpg"] = PHOTO
    async with device.queue(remote) as queue, asyncio.timeout(DEADLINE_S):
        follow = queue.watch("p1")
        assert await anext(follow) is None
        await device.refer("p1")
        seen = await anext(follow)
        while seen is None or seen.local_uri is None:
            seen = await anext(follow)
        assert (seen.state, seen.size, seen.has_synced) == (S.SYNCED, len(PHOTO), True)
        assert await queue.read("p1") == PHOTO
        assert device.files() == ["p1.jpg"]


async def test_a_device_that_does_not_want_files_of_others_gets_none(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    await device.refer("p1")
    async with device.queue(remote, download=False) as queue:
        mine = await queue.save_file(PHOTO, file_extension="jpg", update=referring("t1"))
        await device.reaches(mine.id, S.SYNCED)
        assert await device.record("p1") == {}


@pytest.mark.requirement(208)
async def test_a_file_without_references_is_archived_and_comes_back_without_a_download(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    remote.files["p1.jpg"] = PHOTO
    await device.refer("p1")
    async with device.queue(remote) as queue:
        await device.reaches("p1", S.SYNCED)
        await device.unrefer("p1")
        await device.reaches("p1", S.ARCHIVED)
        assert await queue.read("p1") == PHOTO
        await device.refer("p1")
        await device.reaches("p1", S.SYNCED)
    assert remote.calls == ["download p1.jpg"]


@pytest.mark.requirement(208)
async def test_archived_files_beyond_the_limit_are_deleted_the_oldest_first(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    now = time.time_ns() // 1_000_000
    ticks = iter(range(now, now + 1_000_000))
    async with device.queue(remote, archived_max=2, clock_ms=lambda: next(ticks)):
        for photo_id in ("p1", "p2", "p3", "p4"):
            remote.files[f"{photo_id}.jpg"] = PHOTO
            await device.refer(photo_id)
            await device.reaches(photo_id, S.SYNCED)
        for photo_id in ("p3", "p1", "p4", "p2"):
            await device.unrefer(photo_id)

            async def is_left(photo_id: str = photo_id) -> bool:
                return await device.state(photo_id) in (S.ARCHIVED, None)

            await eventually(is_left)
        await device.reaches("p3", None)
        await device.reaches("p1", None)
        await eventually(lambda: device.files() == ["p2.jpg", "p4.jpg"])
        assert await device.state("p4") is S.ARCHIVED
    assert sorted(remote.files) == ["p1.jpg", "p2.jpg", "p3.jpg", "p4.jpg"]  # archiving is about this device


@pytest.mark.requirement(208)
async def test_a_deleted_file_is_deleted_everywhere_with_its_row(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    async with device.queue(remote) as queue:
        saved = await queue.save_file(PHOTO, file_extension="jpg", update=referring("t1"))
        await device.reaches(saved.id, S.SYNCED)

        async def forget(transaction: Any, attachment: Attachment) -> None:
            await transaction.execute("UPDATE todos SET photo_id = NULL WHERE photo_id = ?", [attachment.id])

        await queue.delete_file(saved.id, update=forget)
        await device.reaches(saved.id, None)
        assert (remote.files, device.files()) == ({}, [])
        assert await device.db.get("SELECT photo_id FROM todos") == (None,)
        with pytest.raises(LookupError):
            await queue.delete_file("unknown")


async def test_at_the_start_records_and_files_are_compared(device: PhotoDevice, remote: RememberingRemote) -> None:
    for photo_id in ("kept", "missing", "archived"):
        remote.files[f"{photo_id}.jpg"] = PHOTO
        await device.refer(photo_id)
    async with device.queue(remote) as queue:
        for photo_id in ("kept", "missing", "archived"):
            await device.reaches(photo_id, S.SYNCED)
        await device.unrefer("archived")
        await device.reaches("archived", S.ARCHIVED)
    lost = await queue.save_file(PHOTO, id="lost", file_extension="jpg")
    for name in ("missing.jpg", "archived.jpg", "lost.jpg"):
        (device.folder / name).unlink()
    old_s = time.time() - ORPHAN_AGE_S - 60
    for name, age in (("orphan.jpg", old_s), ("half.jpg.1a2b3c4d.part", old_s), ("young.jpg", None)):
        (device.folder / name).write_bytes(b"x")
        if age is not None:
            os.utime(device.folder / name, (age, age))
    assert await device.queue(remote).verify() == Verification(missing=3, lost=1, orphans=2)
    assert await device.state("missing") is S.QUEUED_DOWNLOAD
    assert await device.state("archived") is None
    assert await device.state(lost.id) is S.ARCHIVED
    async with device.queue(remote):
        await device.reaches("missing", S.SYNCED)
    assert device.files() == ["kept.jpg", "missing.jpg", "young.jpg"]


async def test_the_app_can_tell_the_references_itself(device: PhotoDevice, remote: RememberingRemote) -> None:
    remote.files = {"p1.png": PHOTO, "portrait of p2": PHOTO}
    lists: asyncio.Queue[list[AttachmentReference]] = asyncio.Queue()

    async def references() -> AsyncIterator[list[AttachmentReference]]:
        while True:
            yield await lists.get()

    async with device.queue(remote, references=references) as queue:
        lists.put_nowait([AttachmentReference("p1", "png"), AttachmentReference("p2", filename="portrait of p2")])
        await device.reaches("p1", S.SYNCED)
        await device.reaches("p2", S.SYNCED)
        lists.put_nowait([AttachmentReference("p2", filename="portrait of p2")])
        await device.reaches("p1", S.ARCHIVED)
        await queue.sync_storage(timeout_s=DEADLINE_S)


async def test_a_query_for_references_that_has_no_id_is_named(
    device: PhotoDevice, remote: RememberingRemote, caplog: pytest.LogCaptureFixture
) -> None:
    await device.refer("p1")
    async with device.queue(remote, references=REFERENCES.replace("AS id", "AS photo")):
        await eventually(lambda: "no column id" in caplog.text)


@pytest.mark.requirement(62)
async def test_clearing_the_account_forgets_its_files_and_ends_their_transfers(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    remote.files = {"p1.jpg": PHOTO, "p2.jpg": PHOTO}
    async with device.queue(remote, archived_max=100) as queue:
        await device.refer("p1")
        await device.reaches("p1", S.SYNCED)
        remote.gate.clear()
        await device.refer("p2")
        await eventually(lambda: remote.running == 1)
        await device.db.disconnect_and_clear(discard_pending=True)
        await eventually(lambda: remote.cancelled == ["p2.jpg"])
        await eventually(lambda: device.files() == [])
        await queue.sync_storage(timeout_s=DEADLINE_S)
        assert await queue.stats() == AttachmentStats()
        assert await device.db.get_all("SELECT id FROM attachments") == []


@pytest.mark.requirement(63)
async def test_a_file_that_is_only_here_keeps_the_account_from_being_cleared(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    saved = await device.queue(remote).save_file(PHOTO)
    with pytest.raises(PendingWrites) as caught:
        await device.db.disconnect_and_clear()
    assert caught.value.files == 1
    assert await device.state(saved.id) is S.QUEUED_UPLOAD
    await device.db.disconnect_and_clear(discard_pending=True)
    async with device.queue(remote):  # the file is deleted by the next queue that runs
        await eventually(lambda: device.files() == [])
    assert remote.calls == []


async def test_a_schema_without_the_table_is_named(device: PhotoDevice, remote: RememberingRemote) -> None:
    with pytest.raises(SchemaInvalid, match="pictures") as caught:
        device.queue(remote, table="pictures")
    assert "AttachmentTable()" in caught.value.hint


async def test_a_queue_starts_and_stops_as_often_as_one_likes(device: PhotoDevice, remote: RememberingRemote) -> None:
    queue: AttachmentQueue = device.queue(remote)
    with pytest.raises(ClientError, match="not started"):
        await queue.sync_storage()

    def tasks() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("attachment")]

    for _ in range(3):
        await queue.start()
        assert len(tasks()) == 2
        await queue.start()
        await queue.sync_storage(timeout_s=DEADLINE_S)
        await queue.stop()
        await queue.stop()
        assert tasks() == []
    await queue.start()
    await device.db.close()
    await eventually(lambda: tasks() == [])
    await queue.stop()
