"""`syncline demo --check` plays its scenario: the round trip through every part, and offline writes in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement(192)
def test_the_demo_s_scenario_holds_and_its_first_row_is_there_in_time(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "syncline.cli.main", "demo", "--check", "--folder", "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All steps hold" in done.stdout
    assert "Postgres holds them in the order of writing" in done.stdout
    first_row_s = re.search(r"first row is on a device ([\d.]+) s", done.stdout)
    assert first_row_s is not None
    assert float(first_row_s[1]) < 10
    round_trip_ms = re.search(r"on her second phone (\d+) ms later", done.stdout)
    assert round_trip_ms is not None
    assert int(round_trip_ms[1]) < 2000
    assert "Traceback" not in done.stderr


def test_the_prompt_shows_queue_and_postgres_and_ends_with_its_input(tmp_path: Path) -> None:
    commands = "offline\nadd buy gas\nqueue\nonline\nlists\npostgres\nnonsense\nquit\n"
    done = subprocess.run(
        [sys.executable, "-m", "syncline.cli.main", "demo", "--folder", str(tmp_path / "demo")],
        input=commands,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 writes wait" in done.stdout or '"op":"PUT"' in done.stdout
    assert "list Home repairs" in done.stdout
    assert "Bob's phone: Home repairs" in done.stdout


def test_the_command_line_says_what_it_can_do() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "syncline.cli.main", "--help"], capture_output=True, text=True, timeout=30, check=True
    )
    assert "start" in shown.stdout
    assert "demo" in shown.stdout
