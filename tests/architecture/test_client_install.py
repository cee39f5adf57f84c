"""What `pip install syncline` alone brings, and what importing the client costs; nothing in the client assumes Linux."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "src" / "syncline" / "client"
DIRECT_DEPENDENCIES_MAX = 8
# Other roles' packages, and extras of the client; and aiohttp, which costs 100 ms and is needed with a network only.
NOT_WITH_THE_CLIENT = (
    *("aiohttp", "typer", "rich", "starlette", "psycopg"),
    *(
        "bson",
        "fastapi",
        "httpx",
        "isal",
        "jwt",
        "keyring",
        "pandas",
        "polars",
        "prometheus_client",
        "pyarrow",
        "pydantic",
    ),
    *("PySide6", "sqlalchemy", "textual", "uvicorn", "uvloop", "websockets", "yaml"),
)
# Modules that are not there on every system, and names that are used on some systems only.
NOT_EVERYWHERE = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "uvloop")
PLATFORM_NAMES = frozenset({"fork", "AF_UNIX", "add_signal_handler", "open_unix_connection", "sendfile", "getuid"})
IMPORT_ALL = """
import importlib, json, pkgutil, sys
blocked = {blocked!r}
for name in blocked:
    sys.modules[name] = None
import syncline.client, syncline.client.attachments
loaded = sorted(set(sys.modules) - set(blocked))
print(json.dumps(loaded))
"""


def loaded_by_the_client(*, blocked: tuple[str, ...] = ()) -> set[str]:
    """Top-level modules that a fresh interpreter has after importing the client."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL.format(blocked=blocked)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_the_base_install_brings_few_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert 0 < len(project["dependencies"]) <= DIRECT_DEPENDENCIES_MAX


def test_importing_the_client_loads_no_other_roles_packages() -> None:
    loaded = loaded_by_the_client()
    assert {"syncline", "apsw", "msgspec"} <= loaded  # the check sees what is loaded
    assert loaded & set(NOT_WITH_THE_CLIENT) == set()


@pytest.mark.requirement(70, missing="Windows, macOS and ARM were not run")
def test_the_client_is_imported_without_the_modules_of_one_platform() -> None:
    # The standard library itself needs some of them on the systems that have them.
    loaded_by_the_client(blocked=("fcntl", "grp", "resource", "termios", "uvloop"))


def test_the_client_uses_what_only_one_platform_has_behind_a_check_alone() -> None:
    """A module that asks for the platform (`os.name`, `sys.platform`, hasattr) may use what only some have; others may not."""
    wrong: list[str] = []
    for path in sorted(CLIENT.rglob("*.py")):
        text = path.read_text("utf-8")
        if any(check in text for check in ("os.name", "sys.platform", "hasattr(os", "hasattr(socket")):
            continue
        for node in ast.walk(ast.parse(text)):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names if alias.name in NOT_EVERYWHERE]
            elif isinstance(node, ast.ImportFrom) and node.module in NOT_EVERYWHERE:
                names = [node.module]
            elif isinstance(node, ast.Attribute) and node.attr in PLATFORM_NAMES:
                names = [node.attr]
            wrong += [f"{path.relative_to(ROOT)}: {name}" for name in names]
    assert wrong == []


INSTALLED = """
import asyncio, importlib.metadata, json, sys
import syncline.client
loaded = sorted(sys.modules)
from syncline.client import Column, Schema, SyncDatabase, Table

async def main():
    async with SyncDatabase(sys.argv[1], schema=Schema([Table("lists", [Column.text("name")])])) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES (uuid(), 'x')")
        assert (await db.get("SELECT name FROM lists"))["name"] == "x"

asyncio.run(main())
direct = [entry for entry in importlib.metadata.requires("syncline") if "extra ==" not in entry]
print(json.dumps({"direct": direct, "loaded": loaded, "file": syncline.client.__file__}))
"""


@pytest.mark.soak
def test_a_fresh_environment_with_the_base_install_opens_a_database(tmp_path: Path) -> None:
    if os.environ.get("SYNCLINE_SOAK") != "1":
        pytest.skip("installs from the package registry: runs under SYNCLINE_SOAK=1")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True, timeout=120)
    python = str(tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT)]
    done = subprocess.run(install, capture_output=True, text=True, timeout=600)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip(f"the package registry cannot be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stderr
    ran = subprocess.run(
        [python, "-c", INSTALLED, str(tmp_path / "app.db")],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert str(tmp_path) in told["file"]
    assert len(told["direct"]) <= DIRECT_DEPENDENCIES_MAX
    assert {name.partition(".")[0] for name in told["loaded"]} & set(NOT_WITH_THE_CLIENT) == set()
