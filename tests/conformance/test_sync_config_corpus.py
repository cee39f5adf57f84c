"""Every recorded sync config gets the recorded answer, or is listed with its reason in docs/compatibility.md."""

from __future__ import annotations

import pytest

from tests.conformance.corpus.answers import differences_of
from tests.conformance.corpus.cases import CORPUS, deliberate_differences, load_cases

FEATURES = sorted({case.feature for case in load_cases()})


@pytest.mark.parametrize("feature", FEATURES)
def test_recorded_configs_are_answered_as_recorded(feature: str) -> None:
    listed = deliberate_differences()
    wrong: list[str] = []
    for case in load_cases():
        if case.feature != feature:
            continue
        found = differences_of(case)
        if case.name in listed and not found:
            wrong.append(f"{case.name} is listed as different ({listed[case.name]}), but agrees")
        if case.name not in listed and found:
            wrong.append("\n    ".join([case.name, *found]))
    assert not wrong, "\n".join(wrong)


def test_every_deliberate_difference_is_explained() -> None:
    explained = (CORPUS.parents[3] / "docs/compatibility.md").read_text()
    missing = {reason for reason in deliberate_differences().values() if f"| `{reason}` |" not in explained}
    assert not missing
    unknown = deliberate_differences().keys() - {case.name for case in load_cases()}
    assert not unknown
