"""Reading a service.yaml on a machine without its variables, and showing what is in effect without its secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncline.cli.service_file import effective_settings, load_service_file
from syncline.errors import ConfigError

FILE = """
_type: self-hosted
replication:
  connections:
    - type: postgresql
      uri: !env PS_SOURCE_URI
      sslmode: !env PS_SSLMODE
      cacert: !env PS_CACERT
storage: {type: sqlite, path: storage}
port: !env PS_PORT::number
migrations: {disable_auto_migration: !env PS_BY_HAND::boolean}
telemetry: {prometheus_port: !env PS_METRICS}
client_auth: {jwks: {keys: [{kty: oct, alg: HS256, kid: a, k: !env PS_KEY}]}}
api: {tokens: [!env PS_TOKEN, literal-token]}
# comment: !env PS_NOT_MEANT
"""
LITERAL = """
replication:
  connections:
    - {type: postgresql, uri: "postgresql://me:topsecret@db.invalid/app", cacert: "-----BEGIN X-----"}
storage: {type: postgresql, hostname: h, database: d, username: u, password: topsecret, sslmode: disable}
client_auth: {supabase_jwt_secret: topsecret, jwks: {keys: [{kty: oct, alg: HS256, kid: a, k: topsecret}]}}
api: {tokens: [topsecret]}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "service.yaml"
    path.write_text(text)
    return path


@pytest.mark.requirement(198)
def test_variables_that_are_not_set_stand_in_by_their_kinds(tmp_path: Path) -> None:
    loaded = load_service_file(written(tmp_path, FILE), {"PS_TOKEN": "x"})
    databases = ("PS_SOURCE_URI", "PS_SSLMODE", "PS_CACERT")
    assert loaded.unset == (*databases, "PS_PORT", "PS_BY_HAND", "PS_METRICS", "PS_KEY")
    assert loaded.unset_of_databases == databases
    assert loaded.config.port == 30
    assert load_service_file(written(tmp_path, FILE), dict.fromkeys(loaded.unset, "1") | VALUES).unset == ()


VALUES = {
    "PS_SOURCE_URI": "postgresql://a@b.invalid/c",
    "PS_SSLMODE": "disable",
    "PS_CACERT": "-----BEGIN X-----",
    "PS_BY_HAND": "true",
    "PS_TOKEN": "x",
}


@pytest.mark.parametrize("text", ["replication: 3", "a: [", "- 1", FILE.replace("PS_SOURCE_URI", "SOURCE_URI")])
def test_what_is_wrong_otherwise_is_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load_service_file(written(tmp_path, text), {})
    with pytest.raises(ConfigError):
        load_service_file(tmp_path / "missing.yaml", {})


@pytest.mark.requirement(194)
def test_settings_in_effect_name_variables_and_hold_no_secrets(tmp_path: Path) -> None:
    settings = effective_settings(written(tmp_path, FILE), VALUES | {"PS_KEY": "topsecret"})
    assert settings["replication"]["connections"][0]["uri"] == "!env PS_SOURCE_URI"
    assert settings["port"] == "!env PS_PORT::number"
    assert settings["api"]["tokens"] == ["!env PS_TOKEN", "***"]
    assert settings["api"]["parameters"]["max_concurrent_connections"] == 200  # a default
    assert "topsecret" not in json.dumps(settings)

    settings = effective_settings(written(tmp_path, LITERAL), {})
    assert settings["replication"]["connections"][0]["uri"] == "postgresql://me:***@db.invalid/app"
    assert settings["storage"]["password"] == "***"
    assert "topsecret" not in json.dumps(settings)
