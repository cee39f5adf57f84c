"""Every recorded expression gets the recorded answer, or is listed with its reason in docs/compatibility.md."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.conformance.corpus.expressions import (
    SETTINGS,
    deliberate_differences,
    load_expressions,
    our_answers,
)

FEATURES = sorted({recorded.feature for recorded in load_expressions()})


@pytest.mark.parametrize("feature", FEATURES)
def test_recorded_expressions_are_answered_as_recorded(feature: str) -> None:
    """In all settings, by the generated evaluator and by the one made of closures."""
    seen = Counter[str]()
    wrong = [line for setting in SETTINGS for line in _wrong_answers(feature, setting, seen)]
    print(dict(seen))
    assert min(seen[setting] for setting in SETTINGS) > 0
    assert not wrong, "\n".join(wrong)


def _wrong_answers(feature: str, setting: str, seen: Counter[str]) -> list[str]:
    listed = deliberate_differences(setting)
    wrong: list[str] = []
    for recorded in load_expressions():
        if recorded.feature != feature:
            continue
        expected = recorded.answers[setting]
        seen.update((setting, expected.kind))
        ours = our_answers(recorded, setting)
        agrees = all(answer == expected for answer in ours)
        name = f"{setting}: {recorded}"
        if str(recorded) in listed:
            if agrees:
                wrong.append(f"{name}: listed as different ({listed[str(recorded)]}), but agrees")
        elif not agrees and (not recorded.quirk or any(answer != ours[0] for answer in ours)):
            wrong.append(f"{name}: recorded {expected}, ours {ours}")
    return wrong


def test_integer_operators_give_what_sqlite_gives() -> None:
    """The recorded default engine has none of them."""
    listed = deliberate_differences("edition3")
    chosen = [recorded for recorded in load_expressions() if listed.get(str(recorded)) == "integer-operators"]
    assert len(chosen) > 30
    wrong = [r for r in chosen if any(answer != r.answers["edition3_sqlite"] for answer in our_answers(r, "edition3"))]
    assert not wrong, "\n".join(map(str, wrong))
