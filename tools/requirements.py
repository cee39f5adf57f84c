"""`make requirements`: run the tests that are marked with requirement rows, and print the table.

A row is PASS when its tests pass, FAIL when one fails, PARTIAL when each of them says that something is still missing
(`@pytest.mark.requirement(25, missing="…")`), else "no test". With `--collect-only` nothing is run: the table shows which tests stand for
which row. Row texts come from docs/internals/requirements.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROWS_FILE = Path("docs/internals/requirements.md")
ROWS_PER_TEST_MAX = 3  # a test that claims more proves none of them well


@dataclass
class Row:
    """What is known of one requirement."""

    text: str
    tests: dict[str, str] = field(default_factory=dict[str, str])  # test -> outcome
    missing: dict[str, str] = field(default_factory=dict[str, str])  # test -> what it leaves unproved

    @property
    def verdict(self) -> str:
        """PASS, FAIL, PARTIAL with what is missing, or no test."""
        if not self.tests:
            return "no test"
        if any(outcome == "failed" for outcome in self.tests.values()):
            return "FAIL"
        if self.missing.keys() >= self.tests.keys():
            return f"PARTIAL ({'; '.join(sorted(set(self.missing.values())))})"
        if all(outcome == "skipped" for outcome in self.tests.values()):
            return "skipped"
        return "PASS"


def read_rows() -> dict[int, Row]:
    """All numbered rows of the requirement tables."""
    rows: dict[int, Row] = {}
    for line in ROWS_FILE.read_text("utf-8").splitlines():
        found = re.match(r"\| (\d+) \| (.*)", line)
        if found:
            rows[int(found[1])] = Row(found[2].split(" | ")[0].replace("\\|", "|"))
    return rows


class Collector:
    """A pytest plugin that keeps only marked tests and notes their outcomes."""

    def __init__(self, rows: dict[int, Row]) -> None:
        self._rows = rows
        self._numbers: dict[str, list[int]] = defaultdict(list)
        self.problems: list[str] = []

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Note the rows of each marked test; leave the others out."""
        marked: list[pytest.Item] = []
        for item in items:
            for mark in item.iter_markers("requirement"):
                self._note(item.nodeid, list(mark.args), mark.kwargs.get("missing"))
            if item.nodeid in self._numbers:
                marked.append(item)
        config.hook.pytest_deselected(items=[item for item in items if item not in marked])
        items[:] = marked

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note an outcome; a failed set-up counts as a failed test."""
        if report.when == "call" or report.outcome != "passed":
            for number in self._numbers[report.nodeid]:
                self._rows[number].tests[report.nodeid] = report.outcome

    def _note(self, test: str, numbers: list[int], missing: str | None) -> None:
        if len(numbers) > ROWS_PER_TEST_MAX:
            self.problems.append(f"{test} claims {len(numbers)} rows; at most {ROWS_PER_TEST_MAX}")
        for number in numbers:
            if number not in self._rows:
                self.problems.append(f"{test} names row {number}, which does not exist")
                continue
            self._numbers[test].append(number)
            self._rows[number].tests.setdefault(test, "not run")
            if missing:
                self._rows[number].missing[test] = missing


def main() -> int:
    """Print the table; exit 1 where a row fails or a marker is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--collect-only", action="store_true", help="do not run the tests")
    parser.add_argument("--all", action="store_true", help="also print rows without a test")
    arguments = parser.parse_args()
    rows = read_rows()
    collector = Collector(rows)
    options = ["-q", "--no-header", "-p", "no:cacheprovider"]
    pytest.main([*options, "--collect-only"] if arguments.collect_only else options, plugins=[collector])
    print()
    for number, row in sorted(rows.items()):
        if row.tests or arguments.all:
            print(f"{number:4} {row.verdict:8} {row.text}")
            for test in sorted(row.tests):
                print(f"              {test}")
    with_tests = [row for row in rows.values() if row.tests]
    print(f"\n{len(with_tests)} of {len(rows)} rows have a test")
    for problem in collector.problems:
        print(problem)
    return 1 if collector.problems or any(row.verdict == "FAIL" for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
