from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from syncline.client import FileTokenStore, KeyringTokenStore, MemoryTokenStore, TokenStore
from syncline.client.token_stores import TOKEN_BYTES_MAX, TokenStoreUnavailable

posix = pytest.mark.skipif(os.name != "posix", reason="permission bits are a thing of POSIX systems")


class FakeKeyring:
    """The three functions of the `keyring` package, which fail for an entry that is not there as its back ends do."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str, /) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str, /) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str, /) -> None:
        del self.entries[service, username]


class LockedKeyring(FakeKeyring):
    def get_password(self, service: str, username: str, /) -> str | None:
        raise RuntimeError("locked: secret-1")


STORES: dict[str, Callable[[Path], TokenStore]] = {
    "memory": lambda _: MemoryTokenStore(),
    "file": lambda folder: FileTokenStore(folder / "sub" / "token"),
    "keyring": lambda _: KeyringTokenStore("app", backend=FakeKeyring()),
}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStore:
    return STORES[request.param](tmp_path)


@pytest.mark.requirement(16)
async def test_a_token_is_kept_replaced_and_forgotten(store: TokenStore) -> None:
    assert await store.get() is None
    await store.clear()  # nothing to forget is no error
    await store.set("token-1")
    assert await store.get() == "token-1"
    await store.set(" token-2\n")
    assert await store.get() == "token-2"
    await store.clear()
    assert await store.get() is None
    await store.clear()


@pytest.mark.requirement(16)
@pytest.mark.parametrize("token", ["", "  \n", "x" * (TOKEN_BYTES_MAX + 1)])
async def test_what_can_be_no_token_is_not_kept(store: TokenStore, token: str) -> None:
    await store.set("good")
    with pytest.raises(ValueError, match="token"):
        await store.set(token)
    assert await store.get() == "good"


async def test_the_longest_token_is_kept(store: TokenStore) -> None:
    await store.set("x" * TOKEN_BYTES_MAX)
    assert await store.get() == "x" * TOKEN_BYTES_MAX


@posix
@pytest.mark.requirement(16, 18)
async def test_the_file_is_its_users_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FileTokenStore(tmp_path / "token")
    old = os.umask(0)
    try:
        await store.set("token-1")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert "KeyringTokenStore" in caplog.text
    assert "token-1" not in caplog.text
    assert [each.name for each in tmp_path.iterdir()] == ["token"]  # nothing half-written stays


@pytest.mark.requirement(18)
async def test_the_file_warns_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = FileTokenStore(tmp_path / "token")
    await store.set("token-1")
    await store.set("token-2")
    assert len(caplog.records) == 1


@posix
async def test_a_file_that_others_could_read_is_closed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "token"
    path.write_text("token-1")
    path.chmod(0o644)
    assert await FileTokenStore(path).get() == "token-1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "644" in caplog.text


async def test_a_file_that_cannot_be_a_token_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"x" * (TOKEN_BYTES_MAX + 1))
    path.chmod(0o600)
    with pytest.raises(TokenStoreUnavailable, match="too long"):
        await FileTokenStore(path).get()
    with pytest.raises(TokenStoreUnavailable):
        await FileTokenStore(tmp_path).get()  # a folder
    with pytest.raises(TokenStoreUnavailable):
        await FileTokenStore(path / "below" / "token").set("t")


@pytest.mark.requirement(18)
async def test_the_keyring_package_is_used_under_the_apps_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeKeyring()
    module = ModuleType("keyring")
    for name in ("get_password", "set_password", "delete_password"):
        setattr(module, name, getattr(fake, name))
    monkeypatch.setitem(sys.modules, "keyring", module)
    await KeyringTokenStore("my app", "ada").set("token-1")
    assert fake.entries == {("my app", "ada"): "token-1"}
    assert await KeyringTokenStore("another app", "ada").get() is None


@pytest.mark.requirement(18)
async def test_without_the_package_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(TokenStoreUnavailable) as raised:
        await KeyringTokenStore().get()
    assert "syncline[keyring]" in raised.value.hint


async def test_a_keyring_that_does_not_answer_is_named_without_its_words() -> None:
    with pytest.raises(TokenStoreUnavailable, match="RuntimeError") as raised:
        await KeyringTokenStore(backend=LockedKeyring()).get()
    assert "secret-1" not in str(raised.value)
