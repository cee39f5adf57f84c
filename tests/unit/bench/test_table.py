from __future__ import annotations

from bench.table import Figure, format_table, percentile


def test_a_figure_stands_beside_its_wall_and_the_ratio_of_both() -> None:
    figure = Figure("replicate", "snapshot", 50_000, "rows/s", 200_000, "COPY", "60,000 rows/s")
    row = format_table([figure]).splitlines()[-1]
    assert row == "| replicate | snapshot | 50,000 rows/s | 200,000 rows/s: COPY | 0.25 | 60,000 rows/s |  |"


def test_a_figure_without_a_wall_has_no_ratio() -> None:
    row = format_table([Figure("replicate", "CPU", 15.04, "s")]).splitlines()[-1]
    assert row == "| replicate | CPU | 15 s |  |  |  |  |"


def test_the_percentile_of_few_values_is_one_of_them() -> None:
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0
