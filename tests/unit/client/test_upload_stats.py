from __future__ import annotations

from datetime import UTC, datetime, timedelta

from syncline.client.core.upload_stats import HeadClock, UploadQueueStats

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_head_that_stays_grows_older_and_one_that_moves_is_young() -> None:
    clock = HeadClock()
    assert clock.observe(None, at(0)) is None
    assert clock.observe(5, at(10)) == at(10)
    assert clock.observe(5, at(20)) == at(10)
    assert clock.observe(6, at(30)) == at(30)
    assert clock.observe(None, at(40)) is None
    assert clock.since is None


def test_the_first_write_into_an_empty_queue_has_its_own_time() -> None:
    clock = HeadClock()
    clock.observe(None, at(0))
    clock.written(at(3))
    clock.written(at(5))
    assert clock.observe(1, at(60)) == at(3)
    clock.written(at(70))  # behind the head: it makes nothing older or younger
    assert clock.observe(1, at(80)) == at(3)
    assert clock.observe(2, at(90)) == at(90)


def test_what_an_earlier_process_saw_counts_as_long_as_it_is_the_head() -> None:
    assert HeadClock(7, at(-3600)).observe(7, at(0)) == at(-3600)
    assert HeadClock(7, at(-3600)).observe(8, at(0)) == at(0)


def test_age_is_never_negative_and_nothing_for_an_empty_queue() -> None:
    assert UploadQueueStats().head_age_s(NOON) == 0
    assert UploadQueueStats(1, 20, at(0)).head_age_s(at(90)) == 90
    assert UploadQueueStats(1, 20, at(0)).head_age_s(at(-90)) == 0  # the clock was set back
