from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from syncline.errors import ConfigError
from syncline.service.config import ProbeConfig, ServiceConfig, SyncConfigMissing, load_config
from syncline.service.log_settings import LogConfig

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


@pytest.mark.requirement(184)
def test_fallback_files_are_looked_for_in_their_order(tmp_path: Path) -> None:
    for number, name in reversed(list(enumerate(("powersync.yaml", "service.yaml", "syncline.yaml")))):
        (tmp_path / name).write_text(MINIMAL.replace("!env PS_PORT::number", str(9000 + number)))
        config = load_config(environment=ENVIRONMENT, working_directory=tmp_path)
        assert (config.port, config.name) == (9000 + number, name)


def test_a_configuration_may_be_json(tmp_path: Path) -> None:
    document = {
        "replication": {"connections": [{"type": "postgresql", "uri": "postgresql://a@b/c"}]},
        "sync_config": {"path": "x.yaml"},
    }
    (tmp_path / "service.json").write_text(json.dumps(document, indent="\t"))
    config = load_config(path=Path("service.json"), environment={}, working_directory=tmp_path)
    assert config.source.host == "b"
    encoded = base64.encodebytes(json.dumps(document, indent="\t").encode()).decode()  # with line breaks
    assert load_config(base64_text=encoded, environment={}, working_directory=tmp_path).port == 8080
    (tmp_path / "service.json").write_text('{"port": 1,}')
    with pytest.raises(ConfigError, match="not valid JSON: line 1"):
        load_config(path=Path("service.json"), environment={}, working_directory=tmp_path)


@pytest.mark.requirement(171)
def test_an_inline_sync_config_and_one_from_the_environment_are_read(tmp_path: Path) -> None:
    text = MINIMAL.replace("{path: sync-config.yaml}", "{content: 'streams: {}'}")
    assert load(tmp_path, text).sync_config_text() == "streams: {}"
    assert load(tmp_path, text.replace("sync_config", "sync_rules")).sync_config_text() == "streams: {}"
    encoded = base64.b64encode(b"other").decode()
    assert load(tmp_path, POWERSYNC_SYNC_CONFIG_B64=encoded).sync_config_text() == "other"
    assert load(tmp_path, POWERSYNC_SYNC_RULES_B64=encoded).sync_config_text() == "other"
    newest = base64.b64encode(b"newest").decode()
    both = {"POWERSYNC_SYNC_RULES_B64": encoded, "POWERSYNC_SYNC_CONFIG_B64": newest}
    assert load(tmp_path, **both).sync_config_text() == "newest"
    config = load_config(
        path=tmp_path / "service.yaml",
        sync_config_base64=base64.b64encode(b"of the command line").decode(),
        environment=ENVIRONMENT | both,
        working_directory=tmp_path,
    )
    assert config.sync_config_text() == "of the command line"
    with pytest.raises(ConfigError, match="POWERSYNC_SYNC_CONFIG_B64 is not base64"):
        load(tmp_path, POWERSYNC_SYNC_CONFIG_B64="%%%")


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
    with pytest.raises(ConfigError, match="No connection found in config") as caught:
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


@pytest.mark.requirement(185, missing="sources in MySQL, MongoDB and SQL Server")
@pytest.mark.parametrize("kind", ["mysql", "mongodb", "mssql"])
def test_a_source_that_is_none_yet_is_refused_by_its_name(tmp_path: Path, kind: str) -> None:
    with pytest.raises(ConfigError, match="not supported yet") as caught:
        load(tmp_path, MINIMAL.replace("type: postgresql", f"type: {kind}"))
    assert kind in str(caught.value)


def test_several_problems_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 problems"):
        load(tmp_path, MINIMAL.replace("type: sqlite", "type: mongodb").replace("PS_SOURCE", "PS_BAD"), PS_BAD="x://y")


def test_a_missing_file_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="syncline start -c"):
        load_config(environment={}, working_directory=tmp_path)
    with pytest.raises(SyncConfigMissing, match="relative to the folder"):
        load(tmp_path).sync_config_text()


def test_without_a_sync_config_the_service_waits_for_one_to_be_deployed(tmp_path: Path) -> None:
    assert load(tmp_path).has_sync_config
    config = load(tmp_path, MINIMAL.replace("sync_config: {path: sync-config.yaml}", ""))
    assert not config.has_sync_config
    assert config.exit_on_error
    with pytest.raises(SyncConfigMissing, match="sync_config:"):
        config.sync_config_text()
    text = MINIMAL.replace("sync-config.yaml}", "sync-config.yaml, exit_on_error: false}")
    assert not load(tmp_path, text).exit_on_error


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


REFERENCE_FILE = """
replication:
  connections:
    - {type: postgresql, id: default, tag: default, debug_api: true, uri: !env PS_SOURCE, sslmode: verify-full, cacert: !env PS_PEM,
       client_certificate: !env PS_PEM, client_private_key: !env PS_PEM, tls_servername: db, reject_ip_ranges: [local, 10.0.0.0/8],
       slot_name_prefix: powersync_, max_pool_size: 8, connect_timeout: 30, snapshot_socket_timeout: 30, heartbeat_interval_seconds: 60}
storage:
  {type: postgresql, uri: !env PS_SOURCE, sslmode: disable, max_pool_size: 8, default_storage_version: 2,
   batch_limits: {max_estimated_size: 5000000, max_record_count: 2000, max_current_data_batch_size: 50000000}}
client_auth:
  jwks_uri: [https://keys.example/jwks]
  jwks: {keys: [{kty: oct, alg: HS256, kid: dev, k: c2VjcmV0}]}
  audience: [powersync]
  supabase: true
  supabase_jwt_secret: !env PS_TOKEN
  block_local_jwks: true
  jwks_reject_ip_ranges: [local]
api:
  tokens: [!env PS_TOKEN]
  parameters: {max_concurrent_connections: 200, max_data_fetch_concurrency: 10, max_buckets_per_connection: 1000,
    max_parameter_query_results: 1000, checkpoint_request_retention_minutes: 60, bucket_count_cache_ttl_minutes: 60}
port: "8080"
sync_rules: {path: sync-config.yaml, exit_on_error: false}
metadata: {site: north}
migrations: {disable_auto_migration: true}
telemetry: {prometheus_port: 9090, disable_telemetry_sharing: true}
healthcheck: {probes: {use_filesystem: true, use_http: true, use_legacy: false}}
system: {logging: {level: warn, format: json}}
parameters: {a: 1, b: x, c: true, d: null}
"""
PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"


@pytest.mark.requirement(182, 222)
def test_every_key_of_the_reference_is_read(tmp_path: Path) -> None:
    config = load(tmp_path, REFERENCE_FILE, PS_PEM=PEM)
    assert (config.source.sslmode, config.source.cacert, config.source.tls_servername) == ("verify-full", PEM, "db")
    assert (config.source.client_certificate, config.source.client_private_key) == (PEM, PEM)
    refusals = [config.source.allowed.refusal(text) for text in ("127.0.0.1", "10.1.1.1", "192.0.2.1", "8.8.8.8")]
    assert (refusals, config.source.connect_timeout_s) == (["PSYNC_S2203"] * 3 + [None], 30)
    assert (config.slot_name_prefix, config.port, config.prometheus_port) == ("powersync_", 8080, 9090)
    assert config.probes == ProbeConfig(files=True, http=True, http_always=True)
    assert config.logging == LogConfig(level=30, json=True, tags={"site": "north"})
    assert config.settings.migrations.disable_auto_migration
    assert [note for note in config.notes if "Not known" in note] == []
    assert [note.split()[0] for note in config.notes] == ["sync_rules", "client_auth.block_local_jwks"]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("", ProbeConfig(files=True, http=True)),
        ("healthcheck: {}", ProbeConfig(files=True, http=True)),
        ("healthcheck: {probes: {}}", ProbeConfig(files=False, http=False)),
        ("healthcheck: {probes: {use_filesystem: true}}", ProbeConfig(files=True, http=False)),
        ("healthcheck: {probes: {use_http: true}}", ProbeConfig(files=False, http=True, http_always=True)),
        ("healthcheck: {probes: {use_legacy: true}}", ProbeConfig(files=True, http=True)),
    ],
)
def test_probes_are_there_unless_the_section_asks_for_others(
    tmp_path: Path, section: str, expected: ProbeConfig
) -> None:
    assert load(tmp_path, MINIMAL + section + "\n").probes == expected


@pytest.mark.parametrize(
    ("section", "environment", "expected"),
    [
        ("", {}, LogConfig(level=20, json=False)),
        ("", {"NODE_ENV": "production"}, LogConfig(level=20, json=True)),
        ("{format: text}", {"NODE_ENV": "production"}, LogConfig(level=20, json=False)),
        ("{level: silly, format: json}", {}, LogConfig(level=5, json=True)),
        ("{level: verbose}", {}, LogConfig(level=15, json=False)),
        ("{level: error}", {"PS_LOG_LEVEL": "debug", "PS_LOG_FORMAT": "json"}, LogConfig(level=10, json=True)),
    ],
)
def test_the_environment_overrides_how_logs_are_written(
    tmp_path: Path, section: str, environment: dict[str, str], expected: LogConfig
) -> None:
    text = MINIMAL + (f"system: {{logging: {section}}}\n" if section else "")
    assert load(tmp_path, text, **environment).logging == expected


@pytest.mark.parametrize(
    ("old", "new", "code", "says"),
    [
        ("connections: [{", "postgresql: [{", "PSYNC_S3201", "No connection found in config"),
        ("replication: {", "replication: [x]\nreplicatio: {", "PSYNC_S3201", "replication is a list"),
        ("{connections: [{type: postgresql", "{connections: [], x: [{type: a", "PSYNC_S3201", "No connection found"),
        ("type: postgresql", "type: mongodb", "PSYNC_S3201", "not supported yet"),
        ("type: postgresql", "type: mssql", "PSYNC_S3201", "not supported yet"),
        ("type: postgresql", "type: convex", "PSYNC_S3201", "not supported yet"),
        ("type: postgresql", "type: postgres", "PSYNC_S3201", "type: postgresql"),
        ("{type: postgresql, uri", "{uri", "PSYNC_S3201", "replication.connections[0]"),
        ("sslmode: disable", "sslmode: disable, slot_name_prefix: Mine-", "PSYNC_S3201", "lower-case"),
        ("sslmode: disable", "sslmode: disable, reject_ip_ranges: [ten]", "PSYNC_S3201", "10.0.0.0/8"),
        ("sslmode: disable", "sslmode: disable, connect_timeout: soon", "PSYNC_S3201", "connect_timeout"),
        ("sslmode: disable", "sslmode: verify-full, cacert: /etc/ca.pem", "PSYNC_S3201", "not its path"),
        ("sslmode: disable", "sslmode: verify-full, client_certificate: '-----BEGIN X'", "PSYNC_S3201", "together"),
        ("uri: !env PS_SOURCE", "uri: 'postgresql://a:p#1@b/c'", "PSYNC_S1110", "%23"),
        ("uri: !env PS_SOURCE", "hostname: h, username: a, password: 123, database: d", "PSYNC_S3201", "quotes"),
        ("path: data/storage", "path: data/storage, default_storage_version: 9", "PSYNC_S1005", "Leave it out"),
        ("audience: [powersync]", "audience: powersync", "PSYNC_S3201", "audience: [ … ]"),
        ("api: {", "api: {parameters: {max_concurrent_connections: 0}, ", "PSYNC_S3201", "max_concurrent_connections"),
        ("api: {", "system: {logging: {level: loud}}\napi: {", "PSYNC_S3201", "silly"),
        ("api: {", "system: {logging: {format: xml}}\napi: {", "PSYNC_S3201", "json"),
        ("api: {", "telemetry: {prometheus_port: many}\napi: {", "PSYNC_S3201", "telemetry.prometheus_port"),
        ("api: {", "sync_rules: {content: x}\napi: {", "PSYNC_S3201", "Keep sync_config"),
        ("!env PS_TOKEN", "{secret_ref: token}", "PSYNC_S3201", "PowerSync Cloud"),
        ("!env PS_PORT::number", "!env PS_PORT::integer", "PSYNC_S3201", "::number"),
        ("!env PS_PORT::number", "!env [PS_PORT]", "PSYNC_S3201", "before a list"),
        ("!env PS_PORT::number", "!env 'x PS_PORT'", "PSYNC_S3201", "whole value"),
        ("!env PS_PORT::number", "!env PS_TOKEN::boolean", "PSYNC_S3201", "boolean"),
    ],
)
def test_more_mistakes_are_named_with_what_to_write(tmp_path: Path, old: str, new: str, code: str, says: str) -> None:
    assert old in MINIMAL
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, MINIMAL.replace(old, new))
    assert caught.value.error_code == code
    assert says in str(caught.value)


@pytest.mark.requirement(183)
def test_all_variables_that_are_missing_are_told_at_once_and_no_value_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="2 variables") as caught:
        load(tmp_path, MINIMAL.replace("PS_TOKEN", "PS_NONE").replace("PS_PORT::number", "PS_SOURCE::number"))
    assert "export PS_NONE" in str(caught.value)
    assert "s%40cret" not in str(caught.value)


@pytest.mark.requirement(227)
def test_passwords_may_be_written_as_the_cloud_does(tmp_path: Path) -> None:
    text = MINIMAL.replace("uri: !env PS_SOURCE", "uri: !env PS_SOURCE, password: {secret: !env PS_TOKEN}")
    assert load(tmp_path, text).source.password == "t"


@pytest.mark.requirement(228)
def test_keys_of_the_cloud_and_unknown_ones_are_noted_once(tmp_path: Path) -> None:
    text = "_type: cloud\nname: mine\nregion: eu\nprot: 1\naudience: [x]\n" + MINIMAL.replace(
        "{type: postgresql,", "{type: postgresql, name: db, sslmod: x,"
    )
    notes = "\n".join(load(tmp_path, text).notes)
    assert "Only for PowerSync Cloud, and ignored here: _type, name, region, replication.connections.name." in notes
    assert "prot (did you mean port?)" in notes
    assert "replication.connections.sslmod (did you mean sslmode?)" in notes
    assert "audience (it belongs into client_auth)" in notes
    assert load(tmp_path, f"_type: self-hosted\n{MINIMAL}").notes == ()  # as the official command line writes it


def test_secrets_are_known_so_that_logs_can_be_cleared_of_them(tmp_path: Path) -> None:
    assert load(tmp_path, REFERENCE_FILE, PS_PEM=PEM).secrets == ("s@cret", PEM, "t", "c2VjcmV0")
