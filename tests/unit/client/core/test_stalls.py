from __future__ import annotations

from dataclasses import replace

from syncline.client.core.stalls import STALL_REPORT_S, Stalled, Wait, Waits
from syncline.client.core.status import BlockedBy, Progress, SyncStatus

CONNECTED = SyncStatus(connected=True)


def test_a_wait_is_overdue_after_the_limit_and_no_more_when_it_moves_on() -> None:
    waits = Waits()
    waits.begin(Wait.UPLOAD, now_s=100)
    assert waits.overdue(now_s=100 + STALL_REPORT_S - 0.1) is None
    assert waits.overdue(now_s=100 + STALL_REPORT_S) is Wait.UPLOAD
    waits.begin(Wait.UPLOAD, now_s=200)
    assert waits.overdue(now_s=201) is None
    waits.end(Wait.UPLOAD)
    assert waits.overdue(now_s=1e6) is None


def test_the_limit_leaves_time_to_be_in_the_status_within_30_seconds() -> None:
    assert 22 < STALL_REPORT_S <= 29  # a keepalive comes every 18 to 22 s


def test_of_several_the_most_telling_is_shown() -> None:
    waits = Waits()
    for wait in (Wait.WRITE_CHECKPOINT, Wait.LINE, Wait.CREDENTIALS):
        waits.begin(wait, now_s=0)
    assert waits.overdue(now_s=99) is Wait.CREDENTIALS


def test_a_checkpoint_waits_while_its_progress_stands_still() -> None:
    waits = Waits()
    waits.observe(replace(CONNECTED, progress=Progress(((3, 0, 9),))), now_s=0)
    waits.observe(replace(CONNECTED, progress=Progress(((3, 1, 9),))), now_s=20)
    waits.observe(replace(CONNECTED, progress=Progress(((3, 1, 9),)), uploading=True), now_s=40)
    assert waits.overdue(now_s=44) is None
    assert waits.overdue(now_s=45) is Wait.CHECKPOINT
    waits.observe(CONNECTED, now_s=50)
    assert waits.overdue(now_s=99) is None


def test_a_download_that_the_gate_holds_back_is_not_waited_for() -> None:
    waits = Waits()
    held = replace(CONNECTED, progress=Progress(((3, 9, 9),)), blocked_by=BlockedBy.PENDING_UPLOADS)
    waits.observe(held, now_s=0)
    assert waits.overdue(now_s=99) is None
    waits.observe(replace(held, blocked_by=BlockedBy.WRITE_CHECKPOINT), now_s=100)
    waits.observe(replace(held, blocked_by=BlockedBy.WRITE_CHECKPOINT, pending_changes=0), now_s=120)
    assert waits.overdue(now_s=125) is Wait.WRITE_CHECKPOINT


def test_writes_that_nobody_tries_to_upload_are_waited_for() -> None:
    waits = Waits()
    written = replace(CONNECTED, pending_changes=2)
    waits.observe(written, now_s=0)
    waits.observe(replace(written, pending_changes=3), now_s=20)
    assert waits.overdue(now_s=25) is Wait.UPLOAD_ATTEMPT
    for tried in (replace(written, uploading=True), replace(written, upload_error=OSError()), CONNECTED):
        waits.observe(tried, now_s=26)
        assert waits.overdue(now_s=99) is None
        waits.observe(written, now_s=27)
        assert waits.overdue(now_s=99) is Wait.UPLOAD_ATTEMPT


def test_the_next_look_is_due_when_the_next_wait_becomes_overdue() -> None:
    waits = Waits(report_after_s=10)
    assert waits.pause_s(now_s=0) is None
    waits.begin(Wait.LINE, now_s=0)
    waits.begin(Wait.UPLOAD, now_s=5)
    assert waits.pause_s(now_s=8) == 2
    assert waits.pause_s(now_s=12) == 3
    assert waits.pause_s(now_s=15) is None
    assert waits.waited_s(Wait.LINE, now_s=7) == 7
    assert waits.waited_s(Wait.ANSWER, now_s=7) == 0


def test_every_stall_says_what_to_do() -> None:
    for wait in Wait:
        stalled = Stalled(wait)
        assert stalled.hint
        assert stalled.reason is wait
