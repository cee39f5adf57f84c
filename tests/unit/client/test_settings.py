from __future__ import annotations

import pytest

from syncline.client import Settings, validate_url
from syncline.client.settings import SettingsInvalid


@pytest.mark.requirement(22)
@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("https://sync.example.com/", "https://sync.example.com"),
        ("  https://sync.example.com/base/ ", "https://sync.example.com/base"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_addresses_are_taken_and_normalised(url: str, normalised: str) -> None:
    assert validate_url(url) == normalised


@pytest.mark.requirement(22)
@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8080",
        "ftp://host",
        "http://",
        "http:///path",
        "https//host",
        "http://host:99999",
        "http://host:port",
        "http://ho st",
        "ws://host",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused_in_these_words(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="Must be a valid URL"):
        validate_url(url)


@pytest.mark.requirement(23)
def test_settings_come_from_the_environment() -> None:
    settings = Settings.from_env(
        {"POWERSYNC_URL": "http://s:8080/", "BACKEND_URL": "http://b:6060", "POWERSYNC_TOKEN": "secret", "OTHER": "x"}
    )
    assert (settings.service_url, settings.backend_url) == ("http://s:8080", "http://b:6060")
    assert settings.token == "secret"
    assert "secret" not in repr(settings)


@pytest.mark.requirement(23)
@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "BACKEND_URL"),
        ({"POWERSYNC_URL": "  "}, "POWERSYNC_URL"),
        ({"POWERSYNC_URL": "nonsense"}, "POWERSYNC_URL"),
        ({"BACKEND_URL": "nonsense", "POWERSYNC_URL": "http://s"}, "BACKEND_URL"),
    ],
)
def test_a_wrong_environment_fails_at_once_and_names_the_variable(environ: dict[str, str], name: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        Settings.from_env(environ)


@pytest.mark.requirement(23)
def test_what_is_needed_and_missing_is_named() -> None:
    with pytest.raises(SettingsInvalid, match="BACKEND_URL"):
        Settings(service_url="http://s").require_backend_url()
    with pytest.raises(SettingsInvalid, match="POWERSYNC_URL"):
        Settings(backend_url="http://b").require_service_url()


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(SettingsInvalid) as raised:
        validate_url("ftp://user:hunter2@host")
    assert "hunter2" not in str(raised.value)
