from __future__ import annotations

import pytest

from syncline.client.core.retry import (
    BUSY_RETRY_MAX_S,
    CHECKSUM_RETRY_MAX_S,
    RETRY_DELAY_MAX_S,
    RetryDelays,
)
from syncline.client.errors import ChecksumMismatch, ConnectionFailed, ServiceError
from syncline.client.retry import RETRY_AFTER_MAX_S

DELAYS = RetryDelays()


def test_delays_double_up_to_their_limit() -> None:
    assert [DELAYS.delay_s(failures) for failures in (0, 1, 2, 3, 4, 10_000)] == [1, 1, 2, 4, 4, RETRY_DELAY_MAX_S]
    assert RetryDelays(60, 4).delay_s(3) == 60


def test_what_was_broken_is_tried_again_within_5_seconds() -> None:
    assert max(DELAYS.delay_s(failures, ConnectionFailed("x")) for failures in range(50)) < 5


@pytest.mark.parametrize(
    ("wish_s", "expected_s"), [(0.0, 0.0), (7.0, 7.0), (-3.0, 0.0), (1e9, RETRY_AFTER_MAX_S), (None, 2.0)]
)
def test_the_wish_of_the_service_is_followed_up_to_a_limit(wish_s: float | None, expected_s: float) -> None:
    assert DELAYS.delay_s(2, ServiceError("busy", status_code=503, retry_after_s=wish_s)) == expected_s


def test_wrong_checksums_and_full_services_are_given_more_time() -> None:
    mismatch, full = ChecksumMismatch(["a"]), ServiceError("full", status_code=429)
    assert [DELAYS.delay_s(failures, mismatch) for failures in (1, 4, 99)] == [1, 8, CHECKSUM_RETRY_MAX_S]
    assert [DELAYS.delay_s(failures, full) for failures in (1, 4, 99)] == [1, 8, BUSY_RETRY_MAX_S]
