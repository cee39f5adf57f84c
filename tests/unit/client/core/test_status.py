from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from syncline.client.core.stalls import Stalled, Wait
from syncline.client.core.status import FULL_SYNC_PRIORITY, PriorityStatus, Progress, SyncState, SyncStatus
from syncline.client.errors import AuthFailed, ChecksumMismatch, ConnectionFailed, NotSignedIn, ServiceError

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
AWAY = ConnectionFailed("no route")
SIGNED_OUT = NotSignedIn()
BROKEN = ChecksumMismatch(["1#a[]"])
HEALTHY = SyncStatus(connected=True, has_synced=True, caught_up=True, pending_changes=0)


@pytest.mark.requirement(72)
@pytest.mark.parametrize(
    ("status", "state"),
    [
        (SyncStatus(), SyncState.OFFLINE),
        (SyncStatus(connecting=True), SyncState.CONNECTING),
        (SyncStatus(connecting=True, download_error=AWAY), SyncState.OFFLINE),
        (SyncStatus(download_error=TimeoutError()), SyncState.OFFLINE),
        (SyncStatus(download_error=SIGNED_OUT), SyncState.OFFLINE),
        (SyncStatus(connecting=True, download_error=AuthFailed("no", status_code=401)), SyncState.ERROR),
        (SyncStatus(download_error=ServiceError("no", status_code=500)), SyncState.ERROR),
        (SyncStatus(connecting=True, stalled=Stalled(Wait.CREDENTIALS)), SyncState.ERROR),
        (replace(HEALTHY, caught_up=False), SyncState.SYNCING),
        (HEALTHY, SyncState.SYNCED),
        (replace(HEALTHY, download_error=AWAY), SyncState.SYNCED),
        (replace(HEALTHY, download_error=BROKEN), SyncState.ERROR),
        (replace(HEALTHY, upload_error=AWAY), SyncState.ERROR),
        (replace(HEALTHY, stalled=Stalled(Wait.LINE)), SyncState.ERROR),
        (replace(HEALTHY, uploading=True), SyncState.SYNCING),
        (replace(HEALTHY, progress=Progress()), SyncState.SYNCING),
        (replace(HEALTHY, blocked_by="write_checkpoint"), SyncState.SYNCING),
        (replace(HEALTHY, pending_changes=1), SyncState.SYNCING),
    ],
)
def test_every_kind_of_status_has_its_state(status: SyncStatus, state: SyncState) -> None:
    assert status.state is state


@pytest.mark.requirement(72)
def test_each_combination_of_fields_has_a_state_that_makes_no_wrong_promise() -> None:
    errors = (None, AWAY, SIGNED_OUT, BROKEN)
    seen: set[SyncState] = set()
    flags = (False, True)
    for connected, connecting, uploading, downloading, caught_up, blocked, pending, down, up, stalled in product(
        flags, flags, flags, flags, flags, (None, "pending_uploads"), (None, 0, 3), errors, errors, flags
    ):
        status = SyncStatus(
            connected=connected,
            connecting=connecting,
            uploading=uploading,
            progress=Progress() if downloading else None,
            caught_up=caught_up,
            blocked_by=blocked,
            pending_changes=pending,
            download_error=down,
            upload_error=up,
            stalled=Stalled(Wait.UPLOAD) if stalled else None,
        )
        state = status.state
        seen.add(state)
        failures = [error for error in (down, up) if error is BROKEN]
        work = uploading or downloading or blocked or pending or not caught_up
        if state in (SyncState.SYNCED, SyncState.SYNCING):
            assert connected
            assert not any((failures, stalled, up))
            assert (state is SyncState.SYNCED) == (not work)
        elif state is SyncState.ERROR:
            assert failures or stalled or (connected and up)
        else:
            assert not connected
            assert not any((failures, stalled))
            assert (state is SyncState.CONNECTING) == (connecting and not (down or up))
    assert seen == set(SyncState)


@pytest.mark.requirement(73, 78)
def test_a_status_is_immutable_and_says_what_is_wrong_first() -> None:
    with pytest.raises(AttributeError):
        HEALTHY.connected = False  # type: ignore[misc]  # wrong on purpose
    assert HEALTHY.error is None
    assert replace(HEALTHY, upload_error=AWAY, stalled=Stalled(Wait.UPLOAD)).error is AWAY
    assert replace(HEALTHY, download_error=BROKEN, upload_error=AWAY).error is BROKEN


def test_a_priority_is_covered_by_the_first_entry_that_is_at_least_as_wide() -> None:
    status = SyncStatus(priorities=(PriorityStatus(1, NOON), PriorityStatus(FULL_SYNC_PRIORITY, NOON)))
    assert status.for_priority(0) == PriorityStatus(1, NOON)
    assert status.for_priority(2) == PriorityStatus(FULL_SYNC_PRIORITY, NOON)
    assert status.last_synced_at == NOON
    assert SyncStatus(priorities=(PriorityStatus(1, NOON),)).for_priority(2) is None


def test_progress_without_work_is_a_fraction_of_0_and_never_more_than_1() -> None:
    assert Progress().fraction == 0.0
    assert Progress(((1, 3, 4), (3, 0, 2))).fraction == 0.5
    assert Progress(((1, 9, 4),)).fraction == 1.0
