"""Cases that could not fail, or say what nobody reads, are refused; and a case that says something false fails."""

from __future__ import annotations

import re

import pytest

from tests.support.sync_config_cases import CASES, CaseError, read_case
from tests.unit.sync_config.case_checks import check_case

GOOD = """
title: Rows of the user
about: a sentence
config: |
  config: {edition: 3}
  streams:
    m: {auto_subscribe: true, priority: 2, query: SELECT * FROM lists WHERE owner_id = auth.user_id()}
rows:
  - {table: lists, row: {id: L1, owner_id: u1}, expect: {in: ['m|0["u1"]'], type: lists, id: L1, data: {id: L1, owner_id: u1}, lookups: []}}
connections:
  - name: u1
    expect: {buckets: {'m|0["u1"]': {priority: 2, reasons: [{default: m}]}}, sees: {lists: [L1]}}
  - name: u2
    token: {sub: u2}
    expect: {buckets: ['m|0["u2"]'], sees: {}}
then:
  - title: L1 changes hands
    rows:
      - {table: lists, row: {id: L1, owner_id: u2}, expect: {in: ['m|0["u2"]']}}
    connections:
      - {name: u2, expect: {sees: {lists: [{id: L1, owner_id: u2}]}}}
  - title: L1 is deleted
    removed:
      - {table: lists, row: {id: L1}}
    connections:
      - {name: u2, expect: {sees: {}}}
"""
WARNED = """
title: An unnamed column
about: a sentence
config: |
  config: {edition: 3}
  streams:
    m: {query: 'SELECT id, upper(id) FROM lists'}
problems:
  - {kind: unnamed_column, severity: warning, line: 3, column: 26, says: has no name, hint: AS name}
"""


def test_the_case_of_the_readme_holds() -> None:
    (text,) = re.findall(
        r"^```yaml\n(.*?)^```", (CASES.parent / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    check_case(read_case(text, "README.md"))


def test_a_true_case_holds() -> None:
    check_case(read_case(GOOD, "good"))
    check_case(read_case(WARNED, "warned"))


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        (GOOD, """{in: ['m|0["u1"]'], type""", """{in: ['m|0["u3"]'], type"""),
        (GOOD, """{in: ['m|0["u1"]'], type""", """{in: ['m|0["u1"]', 'm|1[]'], type"""),
        (GOOD, "type: lists", "type: things"),
        (GOOD, "id: L1, data:", "id: L2, data:"),
        (GOOD, "data: {id: L1, owner_id: u1}", "data: {owner_id: u1, id: L1}"),
        (GOOD, "data: {id: L1, owner_id: u1}", "data: {id: L1}"),
        (GOOD, "lookups: []", "lookups: [{key: [u1], outputs: [[L1]]}]"),
        (GOOD, "lookups: []", "errors: 1"),
        (GOOD, "{priority: 2, reasons", "{priority: 3, reasons"),
        (GOOD, "[{default: m}]", "[{default: m}, {sub: 0}]"),
        (GOOD, "sees: {lists: [L1]}", "sees: {}"),
        (GOOD, "sees: {lists: [L1]}", "sees: {lists: [L1, L2]}"),
        (GOOD, "sees: {lists: [L1]}", "sees: {things: [L1]}"),
        (GOOD, "sees: {lists: [L1]}", "errors: [{stream: m, subscription: default, says: x}]"),
        (GOOD, """expect: {in: ['m|0["u2"]']}""", """expect: {in: ['m|0["u1"]']}"""),
        (GOOD, "[{id: L1, owner_id: u2}]", "[{id: L1, owner_id: u1}]"),
        (GOOD, "expect: {sees: {}}}", "expect: {sees: {lists: [L1]}}}"),
        (WARNED, "severity: warning, ", ""),
        (WARNED, "unnamed_column, s", "unused_cte, s"),
        (WARNED, "line: 3", "line: 2"),
        (WARNED, "column: 26", "column: 27"),
        (WARNED, "has no name", "has a name"),
        (WARNED, "AS name}", "AS other}"),
        (WARNED, "upper(id)", "upper(id) AS u"),
        (WARNED, "upper(id)", "upper(id), lower(id)"),
    ],
)
def test_a_false_case_fails(text: str, true: str, false: str) -> None:
    assert true in text
    case = read_case(text.replace(true, false), "false")
    with pytest.raises(AssertionError):
        check_case(case)


@pytest.mark.parametrize(
    ("text", "good", "bad", "complaint"),
    [
        (GOOD, "title: Rows", "titel: x\ntitle: Rows", "titel"),
        (GOOD, "type: lists", "typo: lists", "typo"),
        (GOOD, "about: a sentence", 'about: ""', "about"),
        (GOOD, "about: a sentence", "about: one\nabout: two", "stands here twice"),
        (GOOD, "name: u2\n    token", "name: u1\n    token", "same name"),
        (GOOD, "{sees: {}}}", "{}}", "expect of a connection is empty"),
        (GOOD, "sees: {lists: [L1]}}", "sees: {lists: []}}", "leave out"),
        (GOOD, "- {name: u2, expect: {sees: {}}}", "- {name: u3, expect: {sees: {}}}", "does not have"),
        (GOOD, "removed:\n      - {table: lists, row: {id: L1}}", "removed: []", "nothing changes"),
        (GOOD, "\n    connections:\n      - {name: u2, expect: {sees: {}}}", "", "nothing is expected of"),
        (WARNED, "problems:", "problems: []\nprefix:", "\\$.prefix"),
        (
            WARNED,
            "problems:\n  - {kind: unnamed_column, severity: warning, ",
            "rows: [{table: t, row: {id: R1}}]\nproblems:\n  - {kind: unnamed_column, ",
            "has no rows",
        ),
        (WARNED, "kind: unnamed_column", "kind: unheard_of", "unheard_of"),
        (WARNED, WARNED[WARNED.index("problems:") :], "", "nothing is expected"),
        (
            WARNED,
            WARNED[WARNED.index("problems:") :],
            "connections: [{name: u1, expect: {buckets: []}}]\n",
            "any config",
        ),
        (
            WARNED,
            WARNED[WARNED.index("problems:") :],
            "rows: [{table: t, row: {id: R1}, expect: {in: []}}]\n",
            "without rows",
        ),
    ],
)
def test_a_case_that_means_nothing_is_refused(text: str, good: str, bad: str, complaint: str) -> None:
    assert good in text
    with pytest.raises(CaseError, match=complaint):
        read_case(text.replace(good, bad), "bad")


def test_a_case_must_be_a_map() -> None:
    with pytest.raises(CaseError):
        read_case("- a", "list")
    with pytest.raises(CaseError):
        read_case("", "empty")
