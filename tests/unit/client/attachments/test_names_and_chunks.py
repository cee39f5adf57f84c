from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.client.attachments import AttachmentNotHere, AttachmentTooLarge, FolderStorage
from syncline.client.attachments.folder import safe_name
from syncline.client.attachments.limits import FILE_NAME_CHARS_MAX
from syncline.client.attachments.storage import limited

TEXT = st.text(max_size=200)


@given(attachment_id=TEXT, filename=TEXT)
def test_a_local_name_never_leaves_its_folder(attachment_id: str, filename: str) -> None:
    name = safe_name(attachment_id, filename)
    assert Path("folder", name).name == name
    assert FolderStorage("folder").path(name) == Path("folder", name)
    assert 0 < len(name) <= FILE_NAME_CHARS_MAX
    assert name == name.lower()
    assert not set(name) & set('/\\:*?"<>| \0')
    assert not name.startswith(".")
    assert not name.endswith(".")


@given(first=TEXT, second=TEXT)
def test_two_ids_have_two_names(first: str, second: str) -> None:
    assert (safe_name(first, "a.jpg") == safe_name(second, "a.jpg")) == (first == second)


@pytest.mark.parametrize(
    ("attachment_id", "filename", "name"),
    [
        ("5e1f-a", "5e1f-a.jpg", "5e1f-a.jpg"),
        ("5e1f-a", "Photo.JPG", "5e1f-a.jpg"),
        ("../../etc/passwd", "x", "%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
        ("A", "a", "%41"),
        ("con", "con.txt", "%con.txt"),
        ("a", "a.jp/g", "a"),
        ("a", "a." + "x" * 40, "a"),
        ("", "", "%"),
    ],
)
def test_names_of_files(attachment_id: str, filename: str, name: str) -> None:
    assert safe_name(attachment_id, filename) == name


@pytest.mark.parametrize("uri", ["", ".", "..", "../a", "a/b", "a\\b", "c:a", "/etc/passwd", "a\0b"])
def test_a_uri_that_leads_out_of_the_folder_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="not the name of a file"):
        FolderStorage("folder").path(uri)


async def chunks(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield bytes(size)


async def test_a_file_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert sum([len(chunk) async for chunk in limited(chunks(60, 40), 100)]) == 100
    with pytest.raises(AttachmentTooLarge, match="100 bytes"):
        [chunk async for chunk in limited(chunks(60, 41), 100)]


async def test_a_folder_holds_whole_files_only(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "photos")
    assert await storage.files() == []
    stored = await storage.write("a.jpg", chunks(3, 4))
    assert (stored.uri, stored.size) == ("a.jpg", 7)
    assert await storage.find("a.jpg") is not None

    async def breaking() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await storage.write("a.jpg", breaking())
    assert [file.uri for file in await storage.files()] == ["a.jpg"]
    assert b"".join([chunk async for chunk in storage.read("a.jpg")]) == bytes(7)
    await storage.write("a.jpg", chunks(1))
    assert [file.size for file in await storage.files()] == [1]
    await storage.delete("a.jpg")
    await storage.delete("a.jpg")
    assert await storage.find("a.jpg") is None
    with pytest.raises(AttachmentNotHere):
        [chunk async for chunk in storage.read("a.jpg")]
