from __future__ import annotations

import pytest

from syncline.client.connection import JITTER, with_jitter


@pytest.mark.parametrize(("unit", "expected"), [(0.0, 5 * (1 - JITTER)), (0.5, 5.0), (1.0, 5 * (1 + JITTER))])
def test_retry_delays_vary_around_the_wanted_one(unit: float, expected: float) -> None:
    assert with_jitter(5, unit=unit) == pytest.approx(expected)
