"""docs/howto/set-up.md: what needs no container engine runs here; the rest is checked by reading."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tools.page_runner import PageRunner, blocks_of
from tools.validate_skill import text_problems

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/howto/set-up.md"


@pytest.mark.requirement(207)
def test_the_four_ways_run_as_far_as_they_need_no_container_engine(tmp_path: Path) -> None:
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    runner = PageRunner(tmp_path, {"HOME": str(tmp_path), "PATH": programs})
    for block in blocks_of(PAGE):
        if block.note != "engine":
            runner.run(block)
    assert (tmp_path / "powersync/service.yaml").is_file()
    assert "DATABASE" in (tmp_path / "stack/docker/.env").read_text()
    assert (tmp_path / "stack/docker/modules/database-postgres/init-scripts").is_dir()
    assert "https://sync.example.com" in (tmp_path / "elsewhere/cli.yaml").read_text()


def test_what_needs_an_engine_names_commands_and_files_that_are_there() -> None:
    text = PAGE.read_text("utf-8")
    assert list(text_problems(text)) == []
    assert [
        name for name in ("deploy/Dockerfile", "deploy/compose.yaml") if name in text and (ROOT / name).is_file()
    ] == [
        "deploy/Dockerfile",
        "deploy/compose.yaml",
    ]
    deploy = (ROOT / "docs/howto/deploy.md").read_text("utf-8")
    build = next(block for block in blocks_of(PAGE) if "docker build" in block.text)
    assert build.text in deploy  # one recipe, which test_deployment_files.py looks at
