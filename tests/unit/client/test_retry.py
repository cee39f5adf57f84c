from __future__ import annotations

import pytest

from syncline.client.retry import (
    ASKED_JITTER,
    RETRY_AFTER_MAX_S,
    RETRY_CAP_S,
    RETRY_JITTER,
    Exponential,
    Fixed,
    retry_after_s,
    wait_s,
)

NOON = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.requirement(42)
def test_pauses_grow_up_to_a_cap_however_many_have_failed() -> None:
    policy = Exponential(first_s=1, cap_s=60, jitter=0)
    assert [policy.delay_s(n, unit=0.5) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert policy.delay_s(10**9, unit=0.5) == RETRY_CAP_S


@pytest.mark.requirement(42)
@pytest.mark.parametrize("policy", [Exponential(first_s=10), Fixed(10)])
def test_pauses_vary_so_that_clients_do_not_come_back_together(policy: Exponential | Fixed) -> None:
    pauses = [policy.delay_s(1, unit=unit) for unit in (0.0, 0.25, 0.5, 0.999)]
    assert pauses == sorted(set(pauses))
    assert pauses[0] == pytest.approx(10 * (1 - RETRY_JITTER))
    assert pauses[-1] < 10 * (1 + RETRY_JITTER)


def test_a_fixed_pause_does_not_grow() -> None:
    assert {Fixed(5, jitter=0).delay_s(n, unit=0.3) for n in (1, 2, 100)} == {5}


@pytest.mark.requirement(42, 259)
def test_a_wait_that_was_asked_for_is_kept_and_never_shortened() -> None:
    policy = Exponential(first_s=1)
    for unit in (0.0, 0.5, 0.999):
        waited = wait_s(policy, 7, asked_s=20, unit=unit)
        assert 20 <= waited <= 20 * (1 + ASKED_JITTER)
    assert wait_s(policy, 7, asked_s=0, unit=0.9) == 0
    assert wait_s(policy, 7, asked_s=-3, unit=0.9) == 0
    assert wait_s(policy, 1, asked_s=10**9, unit=0) == RETRY_AFTER_MAX_S
    assert wait_s(policy, 1, asked_s=None, unit=0.5) == 1


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        (None, None, None),
        ("7", None, 7),
        (" 120 ", None, 120),
        ("0", None, 0),
        ("999999", None, RETRY_AFTER_MAX_S),
        ("-5", None, None),
        ("1.5", None, None),
        ("soon", None, None),
        ("²", None, None),
        ("Sat, 21 Nov 2026 12:01:30 GMT", NOON, 90),
        ("Sat, 21 Nov 2026 11:00:00 GMT", NOON, 0),
        ("Sun, 22 Nov 2026 12:00:00 GMT", NOON, RETRY_AFTER_MAX_S),
        ("Sat, 21 Nov 2026 12:01:30 GMT", None, None),
        ("Sat, 21 Nov 2026 12:01:30 GMT", "yesterday", None),
        ("Sat, 99 Foo 2026 12:01:30 GMT", NOON, None),
    ],
)
@pytest.mark.requirement(42)
def test_retry_after_is_read_in_both_of_its_forms(header: str | None, date: str | None, seconds: float | None) -> None:
    """A point in time is measured by the answer's own clock: the device's may be wrong by hours."""
    assert retry_after_s(header, date_header=date) == seconds
