from __future__ import annotations

import base64
from pathlib import Path

import pytest

from syncline.errors import ConfigError
from syncline.service.config import ServiceConfig, load_config

MINIMAL = """
replication: {connections: [{type: postgresql, uri: !env PS_SOURCE, sslmode: disable}]}
storage: {type: sqlite, path: data/storage}
port: !env PS_PORT::number
sync_config: {path: sync-config.yaml}
client_auth: {jwks: {keys: [{kty: oct, alg: HS256, kid: dev, k: c2VjcmV0}]}, audience: [powersync]}
api: {tokens: [!env PS_TOKEN]}
"""
ENVIRONMENT = {
    "PS_SOURCE": "postgresql://app:s%40cret@db.example:5433/orders",
    "PS_PORT": "8090",
    "PS_TOKEN": "t",
    "HOME": "/nowhere",
}


def load(tmp_path: Path, text: str = MINIMAL, **environment: str) -> ServiceConfig:
    (tmp_path / "service.yaml").write_text(text)
    return load_config(path=Path("service.yaml"), environment=ENVIRONMENT | environment, working_directory=tmp_path)


@pytest.mark.requirement(183)
def test_environment_variables_are_substituted_with_their_types(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.source.host, config.source.port, config.source.user) == ("db.example", 5433, "app")
    assert (config.source.password, config.source.database) == ("s@cret", "orders")
    assert config.port == 8090
    assert config.settings.api.tokens == ["t"]
    text = MINIMAL.replace("api:", "system: {x: !env PS_FLAG::boolean, y: !env PS_PORT::string}\napi:")
    load(tmp_path, text, PS_FLAG="TRUE")


def test_the_password_is_not_in_the_repr(tmp_path: Path) -> None:
    assert "s@cret" not in repr(load(tmp_path))


def test_paths_are_relative_to_the_configuration_file_and_the_host_is_loopback(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.storage_path == tmp_path / "data" / "storage"
    assert config.sync_config_path == tmp_path / "sync-config.yaml"
    assert config.host == "127.0.0.1"
    assert load(tmp_path, SYNCLINE_HOST="0.0.0.0").host == "0.0.0.0"
    assert load(tmp_path, MINIMAL + "host: 10.0.0.7\n").host == "10.0.0.7"


@pytest.mark.requirement(184)
def test_the_configuration_comes_as_base64_as_a_path_or_from_the_fallback_file(tmp_path: Path) -> None:
    encoded = base64.b64encode(MINIMAL.encode()).decode()
    other = MINIMAL.replace("PS_PORT::number", "PS_OTHER::number")
    (tmp_path / "powersync.yaml").write_text(other)
    (tmp_path / "named.yaml").write_text(other)
    environment = ENVIRONMENT | {"PS_OTHER": "8091"}

    def port(path: Path | None = None, base64_text: str | None = None, **extra: str) -> int:
        return load_config(
            path=path, base64_text=base64_text, environment=environment | extra, working_directory=tmp_path
        ).port

    assert port(base64_text=encoded) == 8090
    assert port(POWERSYNC_CONFIG_B64=encoded) == 8090
    assert port(Path("named.yaml"), POWERSYNC_CONFIG_B64=encoded) == 8091
    assert port(POWERSYNC_CONFIG_PATH="named.yaml") == 8091
    assert port() == 8091


@pytest.mark.requirement(171)
def test_an_inline_sync_config_and_one_from_the_environment_are_read(tmp_path: Path) -> None:
    text = MINIMAL.replace("{path: sync-config.yaml}", "{content: 'streams: {}'}")
    assert load(tmp_path, text).sync_config_text() == "streams: {}"
    assert load(tmp_path, text.replace("sync_config", "sync_rules")).sync_config_text() == "streams: {}"
    encoded = base64.b64encode(b"other").decode()
    assert load(tmp_path, POWERSYNC_SYNC_CONFIG_B64=encoded).sync_config_text() == "other"


def test_without_storage_the_buckets_go_to_the_data_directory(tmp_path: Path) -> None:
    text = MINIMAL.replace("storage: {type: sqlite, path: data/storage}\n", "")
    assert load(tmp_path, text).storage_path == Path("/nowhere/.local/share/syncline/storage")


def test_storage_in_postgres_has_the_keys_of_the_source(tmp_path: Path) -> None:
    storage = (
        "storage: {type: postgresql, uri: !env PS_STORAGE, database: buckets, sslmode: disable, max_pool_size: !env PS_POOL,"
        " batch_limits: {max_record_count: 2000}}"
    )
    text = MINIMAL.replace("storage: {type: sqlite, path: data/storage}", storage)
    postgres = load(tmp_path, text, PS_STORAGE="postgresql://s:p%40ss@store:5434/x", PS_POOL="3").storage_postgres
    assert postgres is not None
    assert (postgres.address.host, postgres.address.port, postgres.address.user) == ("store", 5434, "s")
    assert (postgres.address.password, postgres.address.database) == ("p@ss", "buckets")
    assert (postgres.schema, postgres.pool_size) == ("syncline", 3)
    assert "p@ss" not in repr(postgres)
    assert load(tmp_path).storage_postgres is None


@pytest.mark.requirement(182)
def test_a_connection_at_the_root_of_the_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no connection was found") as caught:
        load(tmp_path, "connections: [{type: postgresql}]\nstorage: {type: sqlite}\n")
    assert "replication:\n  connections:" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("type: sqlite, path: data/storage", "type: mongodb, uri: 'mongodb://x'", "PSYNC_S3201", "type: sqlite"),
        ("type: sqlite, path: data/storage", "type: redis", "PSYNC_S3201", "type: sqlite"),
        (
            "type: sqlite, path: data/storage",
            "type: postgresql, uri: 'postgresql://x/y'",
            "PSYNC_S1107",
            "the storage's",
        ),
        ("type: sqlite, path: data/storage", "type: postgresql, uri: 'mysql://a@b/c'", "PSYNC_S1109", "the storage's"),
        (
            "type: sqlite, path: data/storage",
            "type: postgresql, uri: 'postgresql://a@b/c', sslmode: verify-ca",
            "PSYNC_S1104",
            "the storage's",
        ),
        (
            "type: sqlite, path: data/storage",
            "type: postgresql, uri: 'postgresql://a@b/c', schema: 'Mine; --'",
            "PSYNC_S3201",
            "lower-case",
        ),
        (
            "type: sqlite, path: data/storage",
            "type: postgresql, uri: 'postgresql://a@b/c', max_pool_size: 0",
            "PSYNC_S3201",
            "max_pool_size",
        ),
        ("type: postgresql", "type: mysql", "PSYNC_S3201", "not supported yet"),
        ("uri: !env PS_SOURCE", "uri: 'mysql://a@b/c'", "PSYNC_S1109", "postgresql://"),
        ("uri: !env PS_SOURCE", "uri: 'postgresql://a@b:80/c'", "PSYNC_S1110", "port"),
        ("uri: !env PS_SOURCE", "uri: 'postgresql://a@b:x/c'", "PSYNC_S1110", "port"),
        ("uri: !env PS_SOURCE", "uri: 'postgresql://b/c'", "PSYNC_S1107", "username"),
        ("uri: !env PS_SOURCE", "uri: 'postgresql://a@b'", "PSYNC_S1105", "database"),
        ("uri: !env PS_SOURCE", "username: a", "PSYNC_S1106", "hostname"),
        ("sslmode: disable", "sslmode: verify-ca", "PSYNC_S1104", "cacert"),
        ("sslmode: disable", "sslmode: prefer", "PSYNC_S3201", "verify-full"),
        ("!env PS_PORT::number", "!env PS_MISSING::number", "PSYNC_S3201", "export PS_MISSING"),
        ("!env PS_PORT::number", "!env HOME", "PSYNC_S3201", "PS_HOME"),
        ("!env PS_PORT::number", "!env PS_SOURCE::number", "PSYNC_S3201", "number"),
        ("!env PS_PORT::number", "99999", "PSYNC_S3201", "65535"),
        ("sync_config: {path: sync-config.yaml}", "", "PSYNC_S3201", "sync config"),
        (
            "connections: [{",
            "connections: [{type: postgresql, uri: 'postgresql://a@b/c'}, {",
            "PSYNC_S3201",
            "exactly one",
        ),
        ("port:", "port: [", "PSYNC_S3201", "line"),
    ],
)
def test_each_mistake_is_named_with_what_to_write(tmp_path: Path, old: str, new: str, code: str, says: str) -> None:
    assert old in MINIMAL
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, MINIMAL.replace(old, new))
    assert caught.value.error_code == code
    assert says in str(caught.value)


def test_several_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 problems"):
        load(tmp_path, MINIMAL.replace("type: sqlite", "type: mongodb").replace("PS_SOURCE", "PS_BAD"), PS_BAD="x://y")


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="syncline start -c"):
        load_config(environment={}, working_directory=tmp_path)
    with pytest.raises(ConfigError, match="relative to the folder"):
        load(tmp_path).sync_config_text()


def test_the_reference_s_file_is_read_as_it_is_but_for_its_storage(tmp_path: Path) -> None:
    """Every key of the recorded configuration is accepted; unknown keys too."""
    text = (
        MINIMAL + "telemetry: {disable_telemetry_sharing: true}\nhealthcheck: {probes: {use_http: true}}\nunknown: 1\n"
    )
    assert load(tmp_path, text).port == 8090


def test_the_heartbeat_of_the_source_is_bounded(tmp_path: Path) -> None:
    text = MINIMAL.replace("uri: ", "heartbeat_interval_seconds: 20, uri: ", 1)
    assert load(tmp_path, text).heartbeat_interval_s == 20
    assert load(tmp_path, MINIMAL).heartbeat_interval_s == 60
    with pytest.raises(ConfigError, match="5 to 60") as refused:
        load(tmp_path, text.replace("seconds: 20", "seconds: 3"))
    assert refused.value.error_code == "PSYNC_S1109"
