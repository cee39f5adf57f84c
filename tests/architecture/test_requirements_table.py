"""The table of requirement rows: each has a test, and the page of proved versions names those that the tests fetch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.requirements import Row, read_rows

from syncline.cli.demo.web_sdk import WEB_PACKAGES
from tests.support.official_packages import PACKAGES

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"mark\.requirement\(([^)]*)\)")
CASE = re.compile(r"^requirements: \[([\d, ]*)\]", re.MULTILINE)  # of a case of the sync config
PROVED = ("@powersync/node", "@powersync/common", "@powersync/web")  # the others bring a Node and a SQLite


@pytest.mark.requirement(216)
def test_every_row_has_a_test() -> None:
    tests = ROOT / "tests"
    marks = [
        words.split("missing")[0] for path in tests.rglob("*.py") for words in MARK.findall(path.read_text("utf-8"))
    ]
    marks += [words for path in tests.rglob("*.yaml") for words in CASE.findall(path.read_text("utf-8"))]
    marked = {int(number) for words in marks for number in re.findall(r"\b\d+\b", words)}
    assert sorted(set(read_rows()) - marked) == []


@pytest.mark.requirement(217)
def test_a_row_passes_when_its_tests_do_and_says_what_is_missing() -> None:
    row = Row("a row")
    assert row.verdict == "no test"
    row.tests["one"] = "passed"
    assert row.verdict == "PASS"
    row.missing["one"] = "the other half"
    assert row.verdict == "PARTIAL (the other half)"
    row.tests["two"] = "failed"
    assert row.verdict == "FAIL"


@pytest.mark.requirement(246)
def test_the_compatibility_page_names_the_versions_that_are_run() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
    for package in {*PACKAGES, *WEB_PACKAGES}:
        name, _, version = package.rpartition("@")
        if name in PROVED:
            assert f"`{name}` {version}" in page, package
