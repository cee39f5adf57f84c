"""docs/howto/generate-schema.md: its commands and its program run as they stand there, and its table names every output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from syncline.cli.schema_generation.outputs import SchemaOutput
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from tests.support.command_line import run_command_line

PAGE = (Path(__file__).parents[3] / "docs/howto/generate-schema.md").read_text("utf-8")
TABLES = """CREATE TABLE lists (id text PRIMARY KEY, name text, done boolean, created_at timestamptz, owner_id text);
CREATE TABLE todos (id text PRIMARY KEY, list_id text, text text, price numeric(10, 2))"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def source(postgres_server: PostgresServer) -> Generator[ScratchDatabase]:
    database = postgres_server.create()
    database.execute(TABLES)
    yield database
    postgres_server.drop(database)


@pytest.mark.requirement(199)
def test_the_guide_runs(source: ScratchDatabase, tmp_path: Path) -> None:
    [config], [program] = blocks("yaml"), blocks("python")
    generate, check, offline = (block.split()[1:] for block in blocks("sh"))
    (tmp_path / "powersync").mkdir()
    (tmp_path / "powersync/sync-config.yaml").write_text(config)
    for arguments in (generate, check):  # the page has a service for it, the test only its source
        done = run_command_line(tmp_path, *arguments, "--source-uri", source.dsn)
        assert done.code == 0, done.err
    assert run_command_line(tmp_path, *offline).code == 0
    (tmp_path / "use.py").write_text(program)
    used = subprocess.run(
        [sys.executable, "use.py"],
        cwd=tmp_path,
        env=os.environ | {"XDG_DATA_HOME": str(tmp_path)},  # a bare name is one in the folder of the app's data
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.returncode == 0, used.stderr
    assert f"It prints `{used.stdout.strip()}`" in PAGE


def test_the_guide_names_every_output() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    assert named >= {str(output) for output in SchemaOutput}
