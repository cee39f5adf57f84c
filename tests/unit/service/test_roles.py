"""What the command line and the environment say of roles and workers."""

from __future__ import annotations

import pytest

from syncline.errors import ConfigError
from syncline.service.roles import WORKERS_MAX, parse_hang_timeout, parse_workers
from syncline.service.supervisor_plan import HANG_TIMEOUT_S


def test_the_command_line_goes_before_the_environment() -> None:
    assert parse_workers(3, {"SYNCLINE_WORKERS": "2"}) == 3
    assert parse_workers(None, {"SYNCLINE_WORKERS": "2"}) == 2
    assert parse_workers(0, {}) == 0


def test_without_a_word_there_is_at_least_one_worker() -> None:
    assert 1 <= parse_workers(None, {}) <= WORKERS_MAX


@pytest.mark.parametrize("text", ["-1", "two", "1.5", str(WORKERS_MAX + 1)])
def test_what_is_no_number_of_workers_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="0 to 64"):
        parse_workers(None, {"SYNCLINE_WORKERS": text})
    assert parse_workers(WORKERS_MAX, {}) == WORKERS_MAX


def test_the_environment_says_when_a_process_hangs() -> None:
    assert parse_hang_timeout({}) == HANG_TIMEOUT_S
    assert parse_hang_timeout({"SYNCLINE_HANG_TIMEOUT_S": "3"}) == 3.0
    assert parse_hang_timeout({"SYNCLINE_HANG_TIMEOUT_S": "inf"}) == float("inf")


@pytest.mark.parametrize("text", ["2.9", "0", "-1", "soon", "nan"])
def test_what_is_no_such_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="from 3 on"):
        parse_hang_timeout({"SYNCLINE_HANG_TIMEOUT_S": text})
