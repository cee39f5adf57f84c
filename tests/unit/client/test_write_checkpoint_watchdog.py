from __future__ import annotations

from syncline.client.write_checkpoint_watchdog import WriteCheckpointWatchdog


def test_a_write_checkpoint_is_overdue_after_the_timeout_and_again_after_another() -> None:
    watchdog = WriteCheckpointWatchdog(timeout_s=30)
    assert [watchdog.observe(7, connected=True, now_s=now) for now in (0, 29, 30, 31, 60)] == [
        False,
        False,
        True,
        False,
        True,
    ]


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
