from __future__ import annotations

from itertools import pairwise

from syncline.client.write_checkpoint_watchdog import WriteCheckpointWatchdog


def overdue(watchdog: WriteCheckpointWatchdog, awaited: int, *times: float) -> list[bool]:
    return [watchdog.observe(awaited, connected=True, now_s=now) for now in times]


def test_a_write_checkpoint_is_overdue_after_the_timeout_and_again_after_twice_that() -> None:
    watchdog = WriteCheckpointWatchdog(timeout_s=30)
    assert overdue(watchdog, 7, 0, 29, 30, 31, 60, 89, 90) == [False, False, True, False, False, False, True]


def test_slow_replication_gets_more_time_with_each_new_write_checkpoint() -> None:
    """A service that counts keeps the newest moment only: asked every 30 s, one that is 45 s behind would never reach it."""
    watchdog = WriteCheckpointWatchdog(timeout_s=30, timeout_max_s=100)
    now_s, asked = 0.0, [0.0]
    number = 1
    while now_s < 1000:
        if watchdog.observe(number, connected=True, now_s=now_s):
            number += 1
            asked.append(now_s)
            assert not watchdog.observe(number, connected=True, now_s=now_s)
        now_s += 1
    assert [b - a for a, b in pairwise(asked)][:5] == [30, 60, 100, 100, 100]


def test_the_time_of_other_writes_begins_at_the_first_timeout() -> None:
    watchdog = WriteCheckpointWatchdog(timeout_s=30)
    assert overdue(watchdog, 7, 0, 30) == [False, True]
    assert not watchdog.observe(None, connected=True, now_s=40)  # it came
    assert overdue(watchdog, 9, 50, 79, 80) == [False, False, True]


def test_each_write_checkpoint_has_its_own_time() -> None:
    watchdog = WriteCheckpointWatchdog(timeout_s=30)
    assert not watchdog.observe(7, connected=True, now_s=0)
    assert not watchdog.observe(8, connected=True, now_s=29)
    assert not watchdog.observe(8, connected=True, now_s=58)
    assert watchdog.observe(8, connected=True, now_s=59)


def test_time_without_a_connection_does_not_count() -> None:
    watchdog = WriteCheckpointWatchdog(timeout_s=30)
    assert not watchdog.observe(7, connected=False, now_s=0)
    assert not watchdog.observe(7, connected=False, now_s=100)
    assert not watchdog.observe(7, connected=True, now_s=129)
    assert watchdog.observe(7, connected=True, now_s=130)


def test_the_next_look_is_due_at_the_end_of_the_timeout() -> None:
    watchdog = WriteCheckpointWatchdog(timeout_s=30)
    assert watchdog.pause_s(now_s=0) is None
    watchdog.observe(7, connected=True, now_s=0)
    assert watchdog.pause_s(now_s=10) == 20
    assert watchdog.pause_s(now_s=40) == 0
    watchdog.observe(None, connected=True, now_s=41)
    assert watchdog.pause_s(now_s=42) is None
