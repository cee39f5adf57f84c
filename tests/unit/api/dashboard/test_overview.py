"""How the service is: copies whose end is estimated, and how often the source is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncline.api.dashboard.limits import (
    OVERVIEW_FRESH_S,
)
from syncline.api.dashboard.overview import TABLES_FOLLOWED_MAX, Overview, SnapshotEstimates
from syncline.api.probes import Probes
from syncline.api.stream_registry import StreamRegistry


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.requirement(191)
def test_the_end_of_a_copy_is_estimated_from_its_pace() -> None:
    clock = Clock()
    estimates = SnapshotEstimates(clock=clock)
    assert estimates.seconds_left("slot", "lists", 0.1) is None  # one look says nothing of a pace
    clock.now_s += 10
    assert estimates.seconds_left("slot", "lists", 0.3) == pytest.approx(35)
    assert estimates.seconds_left("slot", "todos", 0.5) is None
    clock.now_s += 10
    assert estimates.seconds_left("slot", "lists", 0.3) == pytest.approx(70)  # it goes on more slowly
    clock.now_s += 10
    assert estimates.seconds_left("slot", "lists", 0.0) is None  # begun again
    for n in range(TABLES_FOLLOWED_MAX + 5):
        estimates.seconds_left("slot", f"table {n}", 0.5)
    assert len(estimates._samples) == TABLES_FOLLOWED_MAX


async def test_the_source_is_asked_once_for_all_who_look_at_the_same_time() -> None:
    clock, asked = Clock(), [0]

    class Standing:
        async def diagnostics(self, *, content: bool) -> dict[str, Any]:
            assert not content
            asked[0] += 1
            return {"connections": [{"connected": True}]}

    standing: Any = Standing()
    overview = Overview(
        diagnostics=standing,
        probes=Probes(is_ready=lambda: True, touched_s=lambda: 0.0),
        registry=StreamRegistry(),
        clock=clock,
    )
    answers = await asyncio.gather(*[overview() for _ in range(5)])
    assert asked == [1]
    assert answers[0]["process"]["replication_seen_at"] is None
    clock.now_s += OVERVIEW_FRESH_S
    await overview()
    assert asked == [2]
