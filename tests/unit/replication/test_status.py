"""How far a copy is, and how long it will take."""

from __future__ import annotations

from syncline.replication.status import CopyMeter, CopyProgress


def test_speed_and_time_left_are_of_this_attempt() -> None:
    meter = CopyMeter(rows=1000, blocks_done=100, blocks=400, now_s=50.0)
    assert meter.read(50.0).seconds_left is None, "nothing was copied yet"
    meter.add_rows(500)
    meter.reach(blocks_done=200, blocks=400)
    assert meter.read(60.0) == CopyProgress(rows=1500, blocks_done=200, blocks=400, rows_per_s=50.0, seconds_left=20.0)


def test_a_table_that_is_begun_again_counts_from_its_begin() -> None:
    meter = CopyMeter(rows=0, blocks_done=100, blocks=400, now_s=0.0)
    meter.reach(blocks_done=50, blocks=300)
    assert meter.read(10.0).seconds_left is None
    meter.reach(blocks_done=100, blocks=300)
    assert meter.read(10.0).seconds_left == 40.0


def test_an_empty_table_is_done_at_once() -> None:
    meter = CopyMeter(rows=0, blocks_done=0, blocks=0, now_s=0.0)
    assert meter.read(1.0).share == 1.0


def test_progress_reads_as_a_sentence() -> None:
    progress = CopyProgress(rows=1500, blocks_done=200, blocks=400, rows_per_s=50.0, seconds_left=20.0)
    assert str(progress) == "1500 rows, 50% of the table, 50 rows/s, about 20 s left"
