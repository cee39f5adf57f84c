"""Scenarios with encrypted files, run where `apsw-sqlite3mc` stands in for `apsw`: `python -m … SCENARIO FOLDER`.

Every scenario is a function of its folder; it ends in silence, or with an AssertionError.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table
from syncline.client.encryption import EncryptionKey, FileUnreadable, WrongKey, change_key
from syncline.client.errors import ChecksumMismatch
from tests.support.scripted_service import bucket, checkpoint, complete, data, put, serve

SCHEMA = Schema([Table("lists", [Column.text("name")])])
KEY = "correct horse 'battery' \"staple\""
PAGE = Path(__file__).parents[3] / "docs/howto/encryption.md"
MARK = b"a name that must not be legible"


async def write(file: Path, key: EncryptionKey | str | bytes | None) -> None:
    async with SyncDatabase(file, schema=SCHEMA, encryption_key=key) as db:
        await db.execute("INSERT INTO lists(id, name) VALUES (uuid(), ?)", [MARK.decode()])
        legible = [path.name for path in file.parent.glob(file.name + "*") if MARK in path.read_bytes()]
        assert bool(legible) == (key is None), legible


async def read(file: Path, key: EncryptionKey | str | bytes | None) -> list[object]:
    async with SyncDatabase(file, schema=SCHEMA, encryption_key=key) as db:
        return [row["name"] for row in await db.get_all("SELECT name FROM lists")]


async def refusal(file: Path, key: EncryptionKey | str | bytes | None) -> FileUnreadable:
    before = file.read_bytes()
    with pytest.raises(FileUnreadable) as caught:
        await read(file, key)
    assert file.read_bytes() == before
    return caught.value


async def keys(folder: Path) -> None:
    """What each key does, on every connection: the writer and all readers."""
    file = folder / "app.db"
    await write(file, KEY)
    assert not file.read_bytes().startswith(b"SQLite format 3")
    assert await read(file, KEY) == [MARK.decode()]
    wrong = await refusal(file, "wrong-key")
    assert isinstance(wrong, WrongKey)
    assert "does not fit" in str(wrong)
    assert "wrong-key" not in str(wrong) + wrong.hint
    missing = await refusal(file, None)
    assert not isinstance(missing, WrongKey)
    assert "encrypted" in str(missing)
    plain = folder / "plain.db"
    await write(plain, None)
    assert "change_key" in (await refusal(plain, KEY)).hint


async def ciphers(folder: Path) -> None:
    """Key material in bytes, and the scheme of other SDKs' files."""
    raw, sqlcipher = bytes(range(32)), EncryptionKey("passphrase", cipher="sqlcipher")
    await write(folder / "raw.db", raw)
    assert await read(folder / "raw.db", raw) == [MARK.decode()]
    await write(folder / "cipher.db", sqlcipher)
    assert await read(folder / "cipher.db", sqlcipher) == [MARK.decode()]
    assert isinstance(await refusal(folder / "cipher.db", "passphrase"), WrongKey)
    with pytest.raises(ValueError, match="rot13"):
        await read(folder / "cipher.db", EncryptionKey("x", cipher="rot13"))


async def changes(folder: Path) -> None:
    """Encrypting a plain file, another key, and back."""
    file = folder / "app.db"
    await write(file, None)
    key: EncryptionKey | str | bytes | None = None
    for new in ("first", EncryptionKey("second", cipher="sqlcipher"), b"third", None):
        change_key(file, old=key, new=new)
        if new is not None:
            assert MARK not in file.read_bytes()
        key = new
        assert await read(file, key) == [MARK.decode()]
    change_key(file, old=None, new="last")
    with pytest.raises(WrongKey):
        change_key(file, old="not the last", new=None)
    assert await read(file, "last") == [MARK.decode()]
    async with SyncDatabase(file, schema=SCHEMA, encryption_key="last") as db:
        await db.execute("INSERT INTO lists(id, name) VALUES ('open', 'x')")
        with pytest.raises(apsw.BusyError):
            await asyncio.to_thread(change_key, file, old="last", new="other")
    assert len(await read(file, "last")) == 2


async def sync(folder: Path) -> None:
    """An encrypted file syncs as any other."""
    ops = [put(1, "lists", "l1", name=MARK.decode())]
    async with serve() as service:
        service.lines = [checkpoint(1, bucket("1#a[]", ops)), data("1#a[]", ops), complete(1)]
        async with SyncDatabase(folder / "app.db", schema=SCHEMA, encryption_key=KEY) as db:
            await db.connect(HttpConnector(service.url))
            await db.wait_for_first_sync(timeout=30)
            rows = [row["name"] for row in await db.get_all("SELECT name FROM lists")]
            assert rows == [MARK.decode()]
            assert not [path for path in folder.glob("app.db*") if MARK in path.read_bytes()]


async def shared_status(folder: Path) -> None:
    """What the processes on an encrypted file tell each other names no bucket, parameter or user; of a file in the clear it does."""
    file = folder / "app.db"
    name = f'1#a["{MARK.decode()}"]'
    ops = [put(1, "lists", "l1", name="x")]

    def legible() -> list[str]:
        paths = sorted(file.parent.glob(file.name + "-sync-*"))
        assert paths
        return [path.name for path in paths if MARK in path.read_bytes()]

    async def tell(key: str | None) -> str:
        """The owner's error as its peer sees it."""
        async with (
            serve() as service,
            SyncDatabase(file, schema=SCHEMA, encryption_key=key) as owner,
            SyncDatabase(file, schema=SCHEMA, encryption_key=key) as peer,
        ):
            service.lines = [checkpoint(1, bucket(name, ops, checksum=5)), data(name, ops), complete(1)]
            await owner.sync_stream("projects", {"id": MARK.decode()}).subscribe()
            await owner.connect(HttpConnector(service.url, user_id=MARK.decode()))
            await owner.wait_for_status(lambda status: isinstance(status.download_error, ChecksumMismatch), 30)
            await peer.connect(HttpConnector(service.url))
            status = await peer.wait_for_status(lambda status: status.download_error is not None, 30)
            assert bool(legible()) == (key is None), legible()
            return str(status.download_error)

    assert MARK.decode() in await tell(None)
    left = folder / "app.db-sync-status"
    left.write_bytes(left.read_bytes() + MARK)  # as after a crash
    change_key(file, old=None, new=KEY)
    assert not left.exists()
    shown = await tell(KEY)
    assert "ChecksumMismatch" in shown
    assert MARK.decode() not in shown


async def guide(folder: Path) -> None:
    """The program of docs/howto/encryption.md."""
    [text] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (folder / "encrypted_app.py").write_text(text)
    sys.path.insert(0, str(folder))
    program: Any = importlib.import_module("encrypted_app")
    file = folder / "app.db"
    await write(file, None)
    assert await program.open_app(file, KEY) is None
    await asyncio.to_thread(program.encrypt_existing, file, KEY)
    assert MARK not in file.read_bytes()
    assert await program.open_app(file, "other") is None
    db = await program.open_app(file, KEY)
    assert (await db.get("SELECT name FROM lists"))["name"] == MARK.decode()
    await db.close()
    (folder / "none.db").write_bytes(b"no database" * 1000)
    assert await program.open_app(folder / "none.db", KEY) is None


SCENARIOS: dict[str, Callable[[Path], Awaitable[None]]] = {
    "keys": keys,
    "ciphers": ciphers,
    "changes": changes,
    "sync": sync,
    "shared_status": shared_status,
    "guide": guide,
}


async def main(name: str, folder: str) -> None:
    """Run one."""
    assert hasattr(apsw, "mc_version"), "this is the plain apsw"
    await SCENARIOS[name](Path(folder))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
