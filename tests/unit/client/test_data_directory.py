"""A bare file name goes where the platform keeps the data of apps."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from syncline.client.data_directory import DataDirectoryUnknown, data_directory, place_of


@pytest.mark.requirement(230)
@pytest.mark.parametrize(
    ("platform", "environment", "folder"),
    [
        ("linux", {"HOME": "/home/ann"}, "/home/ann/.local/share/todo"),
        ("linux", {"HOME": "/home/ann", "XDG_DATA_HOME": "/data"}, "/data/todo"),
        ("linux", {"HOME": "/home/ann", "XDG_DATA_HOME": "not/absolute"}, "/home/ann/.local/share/todo"),
        ("darwin", {"HOME": "/Users/ann"}, "/Users/ann/Library/Application Support/todo"),
        ("win32", {"LOCALAPPDATA": "C:/Users/ann/AppData/Local"}, "C:/Users/ann/AppData/Local/todo"),
        ("win32", {"APPDATA": "C:/Users/ann/AppData/Roaming"}, "C:/Users/ann/AppData/Roaming/todo"),
    ],
)
def test_every_platform_has_its_folder(platform: str, environment: dict[str, str], folder: str) -> None:
    assert data_directory("todo", environment=environment, platform=platform) == Path(folder)


@pytest.mark.requirement(230)
@pytest.mark.parametrize("name", ["app.db", "user/app.db"])
def test_a_relative_name_is_placed_in_the_data_folder_wherever_the_program_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    place = place_of(name, app_name="todo", environment={"XDG_DATA_HOME": str(tmp_path / "data")}, platform="linux")
    assert place.path == tmp_path / "data" / "todo" / name
    assert not place.path.parent.exists()
    place.make_folder()
    assert place.path.parent.is_dir()


def test_who_says_where_is_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for given, path in (
        (tmp_path / "app.db", tmp_path / "app.db"),
        ("./app.db", tmp_path / "app.db"),
        ("../app.db", tmp_path / ".." / "app.db"),
        ("~/app.db", Path.home() / "app.db"),
        (":memory:", Path(":memory:")),
    ):
        place = place_of(given)
        assert (place.path, place.in_data_directory) == (path, False)
    place_of(tmp_path / "missing" / "app.db").make_folder()
    assert not (tmp_path / "missing").exists()


def test_without_a_home_or_a_name_the_caller_is_asked() -> None:
    with pytest.raises(DataDirectoryUnknown, match="names no home") as caught:
        data_directory("todo", environment={}, platform="linux")
    assert "absolute path" in caught.value.hint
    for name in ("", "a/b", "..", "a:b"):
        with pytest.raises(DataDirectoryUnknown, match="cannot name a folder"):
            data_directory(name, environment={"HOME": "/home/ann"}, platform="linux")


def test_an_interactive_session_keeps_its_files_where_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert place_of("app.db").path == tmp_path / "app.db"


def test_the_folder_has_the_name_of_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", program)
    environment = {"XDG_DATA_HOME": str(tmp_path)}
    monkeypatch.setattr(program, "__file__", "/opt/todo_app.py", raising=False)
    assert place_of("a.db", environment=environment, platform="linux").path == tmp_path / "todo_app" / "a.db"
    monkeypatch.setattr(program, "__package__", "todo.cli", raising=False)
    assert place_of("a.db", environment=environment, platform="linux").path == tmp_path / "todo" / "a.db"
