from __future__ import annotations

import time
from dataclasses import replace

import pytest

from syncline.client.attachments import (
    Attachment,
    AttachmentRefused,
    AttachmentState,
    AttachmentStats,
    Operation,
    TransferFailed,
)
from syncline.client.attachments.limits import ATTEMPTS_MAX, ERROR_CHARS_MAX, STATE_PAGE
from syncline.client.attachments.store import AttachmentStore
from syncline.client.attachments.verification import Verification
from syncline.client.retry import Exponential
from syncline.testing.waiting import eventually
from tests.integration.client.attachments.photo_device import DEADLINE_S, PHOTO, PhotoDevice
from tests.support.attachment_remote import RememberingRemote

S = AttachmentState


async def test_a_row_that_arrives_before_its_file_waits_for_it(device: PhotoDevice, remote: RememberingRemote) -> None:
    await device.refer("p1")
    async with device.queue(remote, retry=Exponential(first_s=0.02, cap_s=0.02)):
        await eventually(lambda: len(remote.calls) >= 3)
        remote.files["p1.jpg"] = PHOTO
        await device.reaches("p1", S.SYNCED)
    record = await device.record("p1")
    assert (record["attempts"], record["error"]) == (0, None)


async def test_a_download_that_nobody_wants_any_more_ends(device: PhotoDevice, remote: RememberingRemote) -> None:
    remote.files = {"p1.jpg": PHOTO}
    remote.gate.clear()
    async with device.queue(remote):
        await device.refer("p1")
        await eventually(lambda: remote.running == 1)
        await device.unrefer("p1")
        await device.reaches("p1", S.ARCHIVED)
        await eventually(lambda: remote.cancelled == ["p1.jpg"])
        remote.gate.set()
        await eventually(lambda: device.files() == [])  # not even half of it
        await device.refer("p1")
        await device.reaches("p1", S.SYNCED)


async def test_deleting_a_file_under_way_ends_its_upload(device: PhotoDevice, remote: RememberingRemote) -> None:
    remote.gate.clear()
    async with device.queue(remote) as queue:
        saved = await queue.save_file(PHOTO, file_extension="jpg")
        await eventually(lambda: remote.running == 1)
        await queue.delete_file(saved.id)
        await eventually(lambda: remote.cancelled == [saved.filename])
        remote.gate.set()
        await device.reaches(saved.id, None)
    assert remote.calls == [f"upload {saved.filename}", f"delete {saved.filename}"]


async def test_an_outcome_that_comes_too_late_changes_nothing(device: PhotoDevice, remote: RememberingRemote) -> None:
    queue, store = device.queue(remote), AttachmentStore(device.db, "attachments")
    seen = await queue.save_file(PHOTO)
    await queue.delete_file(seen.id)  # while its upload was about to be recorded
    await store.change(seen, replace(seen, state=S.SYNCED))
    await store.change_all([(seen, None)])
    await store.note_failure(seen, attempts=3, delay_s=9, error="late")
    record = await device.record(seen.id)
    assert (record["state"], record["attempts"], record["error"]) == (S.QUEUED_DELETE, 0, None)


async def test_only_so_many_transfers_run_at_a_time(device: PhotoDevice, remote: RememberingRemote) -> None:
    remote.gate.clear()
    async with device.queue(remote, transfers_max=3) as queue:
        for _ in range(8):
            await queue.save_file(PHOTO)
        await eventually(lambda: remote.running == 3)
        remote.gate.set()
        await queue.sync_storage(timeout_s=DEADLINE_S)
        assert (len(remote.files), remote.running_max) == (8, 3)


@pytest.mark.requirement(208)
async def test_failures_are_counted_and_the_pauses_grow(device: PhotoDevice, remote: RememberingRemote) -> None:
    now = [time.time_ns() // 1_000_000]
    remote.failures = [TransferFailed("busy"), OSError("no route"), TransferFailed("later", retry_after_s=77.0)]
    retry = Exponential(first_s=10.0, cap_s=300.0, jitter=0.0)
    async with device.queue(remote, retry=retry, clock_ms=lambda: now[0], interval_s=0.01) as queue:
        saved = await queue.save_file(PHOTO, file_extension="jpg")
        for attempts, least_s, most_s, error in (
            (1, 10, 10, "busy"),
            (2, 20, 20, "no route"),
            (3, 77, 77 * 1.1, "later"),
        ):

            async def has_failed(attempts: int = attempts) -> bool:
                return (await device.record(saved.id))["attempts"] == attempts

            await eventually(has_failed)
            record = await device.record(saved.id)
            assert least_s * 1000 <= record["retry_at"] - now[0] <= most_s * 1000
            assert error in record["error"]
            assert record["state"] == S.QUEUED_UPLOAD
            assert len(remote.calls) == attempts
            now[0] = record["retry_at"]
        await device.reaches(saved.id, S.SYNCED)
    assert (await device.record(saved.id))["attempts"] == 0


async def test_a_file_that_fails_too_often_rests_until_it_is_asked_for(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    remote.failures = [TransferFailed("busy")] * ATTEMPTS_MAX
    async with device.queue(remote) as queue:
        saved = await queue.save_file(PHOTO)

        async def has_given_up() -> bool:
            return (await queue.stats()).failed == 1

        await eventually(has_given_up)
        assert [failed.id for failed in await queue.failed()] == [saved.id]
        assert len(remote.calls) == ATTEMPTS_MAX
        assert (await device.record(saved.id))["state"] == S.QUEUED_UPLOAD  # nothing is lost
        await queue.retry(saved.id)
        await device.reaches(saved.id, S.SYNCED)
        assert await queue.failed() == []


async def test_what_the_remote_refuses_rests_at_once_and_is_tried_at_the_next_start(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    remote.failures = [AttachmentRefused("no such type")]
    async with device.queue(remote) as queue:
        saved = await queue.save_file(PHOTO)

        async def rests() -> bool:
            return bool(await queue.failed())

        await eventually(rests)
        assert len(remote.calls) == 1
    async with device.queue(remote):
        await device.reaches(saved.id, S.SYNCED)


async def test_the_app_can_give_up_a_file_after_a_failure(device: PhotoDevice, remote: RememberingRemote) -> None:
    remote.failures = [TransferFailed("one"), TransferFailed("two")]
    told: list[tuple[Operation, str]] = []

    def on_error(attachment: Attachment, operation: Operation, error: Exception) -> bool:
        told.append((operation, str(error).split()[-1]))
        return len(told) < 2

    async with device.queue(remote, on_error=on_error) as queue:
        saved = await queue.save_file(PHOTO)
        await device.reaches(saved.id, S.ARCHIVED)
    assert told == [(Operation.UPLOAD, "one"), (Operation.UPLOAD, "two")]
    assert remote.files == {}


async def test_what_the_app_has_given_up_rests_until_it_is_asked_for_or_referred_to_anew(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    def give_up(attachment: Attachment, operation: Operation, error: Exception) -> bool:
        return False

    async with device.queue(remote, on_error=give_up) as queue:
        await device.refer("p1")
        await device.reaches("p1", S.ARCHIVED)
        remote.files = {"p1.jpg": PHOTO, "p2.jpg": PHOTO}
        await device.refer("p2")  # the references change, and p1 is still one of them
        await device.reaches("p2", S.SYNCED)
        assert await device.state("p1") is S.ARCHIVED
        await queue.retry("p1")
        await device.reaches("p1", S.SYNCED)
        del remote.files["p1.jpg"]
        await device.refer("p3")
        await device.reaches("p3", S.ARCHIVED)
        remote.files["p3.jpg"] = PHOTO
        await device.unrefer("p3")

        async def is_forgotten() -> bool:
            return (await device.record("p3"))["attempts"] == 0

        await eventually(is_forgotten)
        await device.refer("p3")
        await device.reaches("p3", S.SYNCED)


async def test_a_transfer_that_never_ends_gives_its_place_to_others(
    device: PhotoDevice, remote: RememberingRemote
) -> None:
    remote.gate.clear()
    retry = Exponential(first_s=60)
    async with device.queue(remote, transfers_max=1, transfer_timeout_s=0.1, retry=retry) as queue:
        for photo_id in ("a", "b"):
            await queue.save_file(PHOTO, id=photo_id)

        async def both_were_tried() -> bool:
            return [(await device.record(photo_id))["attempts"] for photo_id in ("a", "b")] == [1, 1]

        await eventually(both_were_tried)
        assert "longer than 0.1 s" in (await device.record("a"))["error"]
    assert (remote.calls, remote.running) == (["upload a", "upload b"], 0)


async def test_many_files_are_looked_through_page_by_page(device: PhotoDevice, remote: RememberingRemote) -> None:
    many = 2 * STATE_PAGE + 100
    device.folder.mkdir()
    names = [f"p{number:05}" for number in range(many)]
    for name in names[:10]:
        (device.folder / name).write_bytes(b"x")
    await device.db.execute_many(
        "INSERT INTO attachments(id, filename, local_uri, state, has_synced, timestamp) VALUES (?, ?, ?, ?, 1, ?)",
        [[name, name, name, S.ARCHIVED if number >= 10 else S.SYNCED, number + 1] for number, name in enumerate(names)],
    )
    queue = device.queue(remote, archived_max=5)
    assert await queue.verify() == Verification(missing=many - 10)
    assert (await queue.stats()) == AttachmentStats(synced=10)
    await device.db.execute_many(
        "INSERT INTO attachments(id, filename, state, has_synced, timestamp) VALUES (?, ?, 4, 1, ?)",
        [[name, name, number + 1] for number, name in enumerate(names[10:])],
    )
    await device.db.execute_many("INSERT INTO todos(id, photo_id) VALUES (?, ?)", [[name, name] for name in names[:10]])
    async with queue:

        async def is_tidy() -> bool:
            return (await queue.stats()).archived == 5

        await eventually(is_tidy, timeout_s=DEADLINE_S)
    assert await device.state(names[-1]) is S.ARCHIVED


async def test_the_text_of_an_error_is_kept_up_to_its_limit(device: PhotoDevice, remote: RememberingRemote) -> None:
    remote.failures = [TransferFailed("x" * 2 * ERROR_CHARS_MAX)]
    async with device.queue(remote, retry=Exponential(first_s=60)) as queue:
        saved = await queue.save_file(PHOTO)

        async def was_tried() -> bool:
            return bool((await device.record(saved.id))["attempts"])

        await eventually(was_tried)
        assert len((await device.record(saved.id))["error"]) == ERROR_CHARS_MAX


async def test_a_first_sync_with_many_files_moves_on(device: PhotoDevice, remote: RememberingRemote) -> None:
    count = 100
    remote.files = {f"p{number}.jpg": b"x" for number in range(count)}
    await device.db.execute_many(
        "INSERT INTO todos(id, photo_id) VALUES (uuid(), ?)", [[f"p{number}"] for number in range(count)]
    )
    async with device.queue(remote) as queue:

        async def all_are_here() -> bool:
            return (await queue.stats()).synced == count

        await eventually(all_are_here, timeout_s=DEADLINE_S)
    assert len(remote.calls) == count
