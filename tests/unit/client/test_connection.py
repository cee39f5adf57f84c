from __future__ import annotations

import pytest

from syncline.client.connection import JITTER, with_jitter


@pytest.mark.parametrize(("unit", "expected"), [(0.0, 5.0), (0.5, 5 * (1 - JITTER / 2)), (1.0, 5 * (1 - JITTER))])
def test_retry_delays_are_shorter_by_chance_and_never_longer(unit: float, expected: float) -> None:
    assert with_jitter(5, unit=unit) == pytest.approx(expected)
