"""Every case of `tests/fixtures/sync_config/cases` holds, and together they show every kind of problem."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.sync_config.problems import ProblemKind
from tests.support.sync_config_cases import Case, load_cases
from tests.unit.sync_config.case_checks import check_case

CASES = load_cases()
KINDS_WITHOUT_A_CASE = {
    "too_large",  # such configs are too large to read: test_problems.py makes them
    "parameters_missing",  # nothing reports it
}


def parameter(case: Case) -> Any:
    marks = [pytest.mark.requirement(*case.requirements)] if case.requirements else []
    return pytest.param(case, id=case.path.removesuffix(".yaml"), marks=marks)


@pytest.mark.parametrize("case", [parameter(case) for case in CASES])
def test_a_case_holds(case: Case) -> None:
    check_case(case)


def test_every_kind_of_problem_has_a_case() -> None:
    shown = {problem.kind for case in CASES for problem in case.problems}
    assert {str(kind) for kind in ProblemKind if kind not in shown} <= KINDS_WITHOUT_A_CASE
