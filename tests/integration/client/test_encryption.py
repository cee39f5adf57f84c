from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from syncline.client import Schema, SyncDatabase
from syncline.client.encryption import EncryptionKey, EncryptionUnavailable, FileUnreadable, change_key

ROOT = Path(__file__).parents[3]
INSTALL_TIMEOUT_S = 90
SCENARIO_TIMEOUT_S = 60


@pytest.fixture(scope="module")
def ciphers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `apsw-sqlite3mc`, which brings the module `apsw`: before the others on the path, it takes the place of ours."""
    folder = tmp_path_factory.mktemp("ciphers")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    try:
        done = subprocess.run(
            [*command, "--target", str(folder), "apsw-sqlite3mc"],
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"apsw-sqlite3mc was not installed within {INSTALL_TIMEOUT_S} s")
    if done.returncode:
        pytest.skip(f"apsw-sqlite3mc cannot be installed from the package registry: {done.stderr[-300:]}")
    return folder


@pytest.mark.parametrize("scenario", ["keys", "ciphers", "changes", "sync", "shared_status", "guide"])
@pytest.mark.requirement(249)
def test_an_encrypted_file(scenario: str, ciphers: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.client.encrypted_device", scenario, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ciphers)},
        capture_output=True,
        text=True,
        timeout=SCENARIO_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr


async def test_a_key_without_ciphers_is_refused_and_nothing_is_written_in_the_clear(tmp_path: Path) -> None:
    assert not hasattr(apsw, "mc_version"), "the project's own environment has the plain apsw"
    file = tmp_path / "app.db"
    with pytest.raises(EncryptionUnavailable) as caught:
        await SyncDatabase(file, schema=Schema([]), encryption_key="secret").init()
    assert "apsw-sqlite3mc" in caught.value.hint
    assert not file.exists() or file.stat().st_size == 0
    with pytest.raises(EncryptionUnavailable):
        change_key(file, old=None, new="secret")


def test_an_empty_key_is_refused_and_a_key_is_never_shown(tmp_path: Path) -> None:
    for empty in ("", b""):
        with pytest.raises(ValueError, match="empty"):
            SyncDatabase(tmp_path / "app.db", schema=Schema([]), encryption_key=empty)
    assert "secret" not in repr(EncryptionKey("secret"))


@pytest.mark.requirement(249)
async def test_a_file_that_is_no_database_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "photo.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(FileUnreadable, match="not a database"):
        await SyncDatabase(tmp_path / "photo.db", schema=Schema([])).init()
    with pytest.raises(FileUnreadable) as caught:
        await SyncDatabase(tmp_path / "missing" / "app.db", schema=Schema([])).init()
    assert "folder" in caught.value.hint
