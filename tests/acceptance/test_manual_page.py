"""docs/howto/manual-test.md: its commands in their order, and what they print. What a person looks for on the page is tested elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from tools.page_runner import PageRunner, blocks_of

from syncline.embedded.binaries import find_binaries

PAGE = Path(__file__).parents[2] / "docs/howto/manual-test.md"
KEPT = ("LANG", "LC_ALL", "SYNCLINE_POSTGRES_BIN", "TMPDIR")  # of the machine


@pytest.mark.timeout(300)
@pytest.mark.requirement(258)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's commands need curl, which this machine has not")
def test_the_commands_of_the_manual_test_print_what_the_page_says(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}:{find_binaries(readable_by_all=True)}"  # psql too
    environment = {"HOME": str(tmp_path), "PATH": programs, "PYTHONIOENCODING": "utf-8", **kept}
    runner = PageRunner(tmp_path, environment)
    blocks = blocks_of(PAGE)
    assert len([block for block in blocks if block.language == "console"]) >= 6
    try:
        for block in blocks:
            runner.run(block)
        assert "Traceback" not in runner.printed_by("demo")
    finally:
        runner.close()
