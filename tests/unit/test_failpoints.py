"""Failpoints: counted, named, and nothing where they are not asked for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import syncline
from syncline.failpoints import EXIT_STATUS, FAILPOINTS, VARIABLE, failpoint, make_failpoint


def not_called(status: int) -> None:
    raise AssertionError(f"ended with {status}")


def test_the_process_ends_when_the_place_is_passed_for_the_nth_time() -> None:
    ended: list[int] = []
    passed = make_failpoint({VARIABLE: "after-snapshot-progress:3, in-truncate"}, ended.append)
    for _ in range(2):
        passed("after-snapshot-progress")
        passed("before-snapshot-done")
    assert ended == []
    passed("after-snapshot-progress")
    assert ended == [EXIT_STATUS]
    passed("in-truncate")
    assert ended == [EXIT_STATUS, EXIT_STATUS]


def test_without_the_variable_nothing_is_counted() -> None:
    assert failpoint is make_failpoint({}, not_called)
    failpoint("after-snapshot-progress")


@pytest.mark.parametrize("setting", ["nowhere", "in-truncate:0", "in-truncate:-1", ":3"])
def test_a_setting_that_would_crash_nowhere_is_refused(setting: str) -> None:
    with pytest.raises(ValueError, match="names no failpoint"):
        make_failpoint({VARIABLE: setting}, not_called)


def test_every_place_in_the_code_has_a_known_name() -> None:
    used: set[str] = set()
    for path in Path(syncline.__file__).parent.rglob("*.py"):
        source = path.read_text()
        if "failpoint(" not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                (name,) = node.args
                assert isinstance(name, ast.Constant), f"{path}: a failpoint is named by a literal"
                used.add(str(name.value))
    assert used <= FAILPOINTS
    assert len(used) >= 12
