"""Where the admin API and its token come from, and what cli.yaml may say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer

from syncline.cli import logins
from syncline.cli.exit_codes import CommandFailed
from syncline.cli.logins import LOGINS_MAX, forget_token, logins_path, store_token, stored_token
from syncline.cli.project import AdminAddress, admin_address, open_project, read_yaml
from syncline.cli.project_templates import write_template

FLAG, FILE, ENVIRONMENT = "http://flag.invalid", "http://file.invalid", "http://environment.invalid"


def address(folder: Path, link: str, flag: str | None = None, *, stack: str = "", **environment: str) -> AdminAddress:
    directory = folder / "powersync"
    (directory / "docker").mkdir(parents=True, exist_ok=True)
    (directory / "cli.yaml").write_text(link)
    (directory / "docker" / ".env").write_text(stack)
    return admin_address(str(directory), flag, {"HOME": str(folder)} | environment)


@pytest.mark.requirement(204)
@pytest.mark.parametrize(
    ("link", "flag", "environment", "url"),
    [
        (f"api_url: {FILE}", FLAG, ENVIRONMENT, FLAG),
        (f"api_url: {FILE}", None, ENVIRONMENT, FILE),
        ("type: self-hosted", None, ENVIRONMENT, ENVIRONMENT),
        ("api_url: !env THE_URL", None, ENVIRONMENT, "http://variable.invalid"),
        ('api_url: "!env THE_URL"', None, ENVIRONMENT, "http://variable.invalid"),
        (f"api_url: {FILE}/", None, "", FILE),
    ],
)
def test_the_address_is_the_flag_s_then_the_file_s_then_the_environment_s(
    link: str, flag: str | None, environment: str, url: str, tmp_path: Path
) -> None:
    found = address(tmp_path, link, flag, API_URL=environment, PS_ADMIN_TOKEN="t", THE_URL="http://variable.invalid")
    assert found.url == url


@pytest.mark.requirement(204)
@pytest.mark.parametrize(
    ("key", "variable", "token", "unset"),
    [
        ("in-file", "in-environment", "in-environment", ""),
        ("in-file", "", "in-file", ""),
        ("!env THE_TOKEN", "", "of-variable", ""),
        ('"!env THE_TOKEN::string"', "", "of-variable", ""),
        ("!env NOT_SET", "", "!env NOT_SET", "NOT_SET"),  # sent as it is, and refused
        ("!env NOT_SET", "in-environment", "in-environment", ""),
        ('""', "", "of-login", ""),
    ],
)
def test_the_token_is_the_environment_s_then_the_file_s_then_a_stored_one(
    key: str, variable: str, token: str, unset: str, tmp_path: Path
) -> None:
    store_token(FILE, "of-login", {"HOME": str(tmp_path)})
    link = f"api_url: {FILE}\napi_key: {key}\n"
    found = address(tmp_path, link, PS_ADMIN_TOKEN=variable, THE_TOKEN="of-variable")
    assert (found.token, found.unset_variable) == (token, unset)
    assert token not in repr(found)


def test_the_token_of_a_stack_need_not_be_exported(tmp_path: Path) -> None:
    link = f"api_url: {FILE}\napi_key: !env PS_ADMIN_TOKEN\n"
    assert address(tmp_path, link, stack="# a\nPS_ADMIN_TOKEN=of-stack\n").token == "of-stack"
    assert address(tmp_path, link, stack="PS_ADMIN_TOKEN=of-stack", PS_ADMIN_TOKEN="mine").token == "mine"


def test_no_folder_is_needed_where_everything_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert admin_address(missing, FLAG, {"PS_ADMIN_TOKEN": "t"}).url == FLAG
    assert admin_address(missing, None, {"PS_ADMIN_TOKEN": "t", "API_URL": ENVIRONMENT}).url == ENVIRONMENT
    with pytest.raises(CommandFailed, match="not found"):
        admin_address(missing, None, {"PS_ADMIN_TOKEN": "t"})


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("type: self-hosted", "there is no address of the service"),
        (f"api_url: {FILE}", "there is no token"),
        ("api_url: not a url\napi_key: x", "is no address of a service"),
        ("type: cloud\ninstance_id: x", "type: cloud"),
        ("- 1", "must be a map"),
        ("a: [", "not valid YAML: line"),
    ],
)
def test_a_link_that_is_no_use_is_explained(link: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=says):
        address(tmp_path, link)


def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(typer.Exit) as ended:
        address(tmp_path, f"api_url: {FILE}")
    assert ended.value.exit_code == 1
    assert 'pip install "syncline[service]"' in capsys.readouterr().err
    # Without a file there is nothing to read: the client alone can ask a service.
    assert admin_address(str(tmp_path / "missing"), FLAG, {"PS_ADMIN_TOKEN": "t"}).url == FLAG


def test_a_template_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine")
    with pytest.raises(CommandFailed, match=r"Already here: .*app\.py"):
        write_template("tui", tmp_path / "powersync")
    assert [path.name for path in tmp_path.iterdir()] == ["app.py"]
    assert {path.name for path in write_template("fastapi", tmp_path / "powersync")} >= {"backend.py", "tables.sql"}
    assert (tmp_path / "app.py").read_text() == "mine"


def test_references_are_read_and_not_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "service.yaml"
    path.write_text("a: !env PS_X\nb: [!env PS_Y::number]\n")
    assert read_yaml(path) == {"a": "!env PS_X", "b": ["!env PS_Y::number"]}
    with pytest.raises(CommandFailed, match="cannot be read"):
        read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(CommandFailed, match="not found"):
        open_project(str(tmp_path / "missing"))


def test_a_stored_token_belongs_to_one_address(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path)}
    path = store_token(f"{FILE}/", "a", environment)
    store_token(FLAG, "b", environment)
    assert path == logins_path(environment)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (stored_token(FILE, environment), stored_token(FLAG, environment), stored_token("x", environment)) == (
        "a",
        "b",
        "",
    )
    assert forget_token(FILE, environment)
    assert not forget_token(FILE, environment)
    path.write_text("{")
    with pytest.raises(CommandFailed, match="cannot be read"):
        stored_token(FLAG, environment)


def test_no_more_tokens_are_kept_than_a_person_has_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LOGINS_MAX >= 100
    monkeypatch.setattr(logins, "LOGINS_MAX", 2)
    environment = {"HOME": str(tmp_path)}
    store_token("http://1", "a", environment)
    store_token("http://2", "b", environment)
    with pytest.raises(CommandFailed, match="already"):
        store_token("http://3", "c", environment)
    store_token("http://2", "again", environment)


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/x"}, "/x/syncline"),
        ("linux", {}, "/home/a/.config/syncline"),
        ("darwin", {}, "/home/a/Library/Application Support/syncline"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/syncline"),
    ],
)
def test_tokens_are_kept_where_the_platform_has_such_files(
    platform: str, variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins.sys, "platform", platform)
    assert logins_path({"HOME": "/home/a"} | variables) == Path(folder) / "logins.json"
