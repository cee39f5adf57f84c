"""Generated sync configs against the same queries in Postgres: who sees which rows, before and after changes.

Seeds are printed; SYNCLINE_ORACLE_SEED=… plays a run again, SYNCLINE_ORACLE_CASE=… one case of it, SYNCLINE_ORACLE_CASES=… sets how many.
"""

from __future__ import annotations

import os
import random

import pytest

from syncline.testing.postgres import ScratchDatabase
from tests.support.sync_config_oracle.run import run_cases
from tests.support.sync_config_oracle.source import PostgresSource

CASES = int(os.environ.get("SYNCLINE_ORACLE_CASES") or (20_000 if os.environ.get("SYNCLINE_SOAK") else 2_000))
LEAST_SHARE = 0.01  # of the cases, for every construct
LEAST_SHARE_WITH_ROWS = 0.3
LEAST_CASES_TO_JUDGE = 1_000  # with fewer cases the shares are chance
OVER_LIMIT_SHARE_MAX = 0.01


@pytest.mark.timeout(1800)
@pytest.mark.requirement(172)
def test_every_user_sees_the_rows_of_the_same_query_in_postgres(
    postgres_database: ScratchDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("SYNCLINE_ORACLE_SEED") or random.randrange(2**32))
    only = os.environ.get("SYNCLINE_ORACLE_CASE")
    numbers = [int(only)] if only else range(CASES)
    with PostgresSource.open(postgres_database) as source:
        report = run_cases(source, seed, numbers)
    with capsys.disabled():
        print(f"\n{report.text()}")
    assert not report.failed, report.text()
    assert report.share(report.over_limit) < OVER_LIMIT_SHARE_MAX or only, report.text()
    if report.cases >= LEAST_CASES_TO_JUDGE:
        assert report.rare(LEAST_SHARE) == [], report.text()
        assert report.share(report.with_rows) >= LEAST_SHARE_WITH_ROWS, report.text()
