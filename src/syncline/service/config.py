"""Finding, reading and checking the service's configuration. All problems are reported at once, with path and hint.

Order of places (service config reference, 1): base64 text (argument, then POWERSYNC_CONFIG_B64), a file (argument, then
POWERSYNC_CONFIG_PATH), `powersync.yaml` in the working directory.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from syncline.errors import ConfigError
from syncline.service.addresses import DatabaseAddress, as_number, check_address
from syncline.service.settings import ServiceSettings, SyncConfigSettings
from syncline.service.yaml_env import load_yaml
from syncline.storage.postgres.statements import is_schema_name

__all__ = ["PostgresStorageConfig", "ServiceConfig", "load_config"]

HEARTBEAT_SECONDS_MIN, HEARTBEAT_SECONDS_MAX = 5, 60
DEFAULT_HOST = "127.0.0.1"
FALLBACK_FILE = "powersync.yaml"

_MONGODB_HINT = """Syncline keeps buckets in SQLite or Postgres and needs no second database. Write instead:
storage:
  type: sqlite
  path: ./syncline-storage"""
_STORAGE_HINT = "storage:\n  type: sqlite\n  path: ./syncline-storage"


@dataclass(frozen=True, slots=True)
class PostgresStorageConfig:
    """Bucket storage in a Postgres database: where it is, in which schema, and reading connections of a process."""

    address: DatabaseAddress
    schema: str
    pool_size: int


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """A checked configuration. `sync_config_text` is read when it is asked for: the file may be mended meanwhile."""

    settings: ServiceSettings
    source: DatabaseAddress
    slot_name_prefix: str
    heartbeat_interval_s: float
    storage_path: Path  # of SQLite, which is used where `storage_postgres` is None
    storage_postgres: PostgresStorageConfig | None
    host: str
    port: int
    sync_config_path: Path | None
    sync_config_content: str | None

    def sync_config_text(self) -> str:
        """Text of the sync config. Raises ConfigError when the file cannot be read."""
        if self.sync_config_content is not None:
            return self.sync_config_content
        assert self.sync_config_path is not None
        try:
            return self.sync_config_path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise ConfigError(
                f"The sync config {self.sync_config_path} cannot be read: {getattr(exc, 'strerror', None) or exc}",
                hint="sync_config.path is relative to the folder of the configuration file.",
            ) from exc


def load_config(
    *, path: Path | None = None, base64_text: str | None = None, environment: Mapping[str, str], working_directory: Path
) -> ServiceConfig:
    """Find and check the configuration. Raises ConfigError with everything that is wrong with it."""
    text, folder, name = _find(path, base64_text, environment, working_directory)
    document = load_yaml(text, environment, name=name)
    if not isinstance(document, dict):
        raise ConfigError(f"{name} must be a map of settings.", hint="Begin with `replication:`.")
    document = cast("dict[str, Any]", document)
    _refuse_misplaced(document, name)
    try:
        settings = msgspec.convert(document, ServiceSettings, strict=True)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{name}: {exc}") from exc
    return _check(settings, folder, name, environment)


def _find(
    path: Path | None, base64_text: str | None, environment: Mapping[str, str], working_directory: Path
) -> tuple[str, Path, str]:
    """Text of the configuration, the folder that its paths are relative to, and its name for messages."""
    encoded = base64_text or (environment.get("POWERSYNC_CONFIG_B64") if path is None else None)
    if encoded:
        try:
            return base64.b64decode(encoded, validate=True).decode(), working_directory, "the base64 configuration"
        except (binascii.Error, UnicodeDecodeError) as exc:
            raise ConfigError("The base64 configuration is not base64 of UTF-8 text.") from exc
    named = path or (Path(value) if (value := environment.get("POWERSYNC_CONFIG_PATH")) else Path(FALLBACK_FILE))
    file = working_directory / named
    try:
        return file.read_text("utf-8"), file.parent, str(named)
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"The configuration {named} cannot be read: {getattr(exc, 'strerror', None) or exc}",
            hint="Name it with `syncline start -c service.yaml` or POWERSYNC_CONFIG_PATH.",
        ) from exc


def _refuse_misplaced(document: dict[str, Any], name: str) -> None:
    """Name the well-known mistakes before the general check answers with something less helpful."""
    for key in ("connections", "connection", "type", "uri", "hostname"):
        if key in document and "replication" not in document:
            raise ConfigError(
                f"{name}: no connection was found: `{key}` stands at the root of the file.",
                hint="Connections belong under replication:\nreplication:\n  connections:\n    - type: postgresql\n      uri: …",
            )
    if "sync_config" in document and "sync_rules" in document:
        raise ConfigError(f"{name}: both sync_config and sync_rules are present.", hint="Keep sync_config.")


def _check(settings: ServiceSettings, folder: Path, name: str, environment: Mapping[str, str]) -> ServiceConfig:
    problems: list[ConfigError] = []

    def note(message: str, *, code: str = "PSYNC_S3201", hint: str = "") -> None:
        problems.append(ConfigError(f"{name}: {message}", code=code, hint=hint))

    source = _check_source(settings, note)
    storage_path = _check_storage(settings, folder, environment, note)
    storage_postgres = _check_postgres_storage(settings, note)
    heartbeat_interval_s = _check_heartbeat(settings, note)
    port = as_number(settings.port)
    if port is None or not 0 <= port <= 65535:
        note("port must be a number from 0 to 65535.")
    sync = settings.sync_config or settings.sync_rules or SyncConfigSettings()
    content = _inline_sync_config(sync, environment, note)
    if not sync.path and content is None:
        note("there is no sync config.", hint="sync_config:\n  path: sync-config.yaml")
    if problems:
        raise _joined(problems)
    assert source is not None
    assert port is not None
    return ServiceConfig(
        settings=settings,
        source=source,
        slot_name_prefix=settings.replication.connections[0].slot_name_prefix,
        heartbeat_interval_s=heartbeat_interval_s,
        storage_path=storage_path,
        storage_postgres=storage_postgres,
        host=environment.get("SYNCLINE_HOST") or settings.host or DEFAULT_HOST,
        port=port,
        sync_config_path=folder / sync.path if sync.path else None,
        sync_config_content=content,
    )


def _check_source(settings: ServiceSettings, note: Any) -> DatabaseAddress | None:
    connections = settings.replication.connections
    if not connections:
        note(
            "no connection was found in replication.connections.",
            hint="replication:\n  connections:\n    - type: postgresql\n      uri: !env PS_SOURCE_URI",
        )
        return None
    if len(connections) > 1:
        note(f"replication.connections has {len(connections)} entries; exactly one is supported.")
    connection = connections[0]
    if connection.type != "postgresql":
        note(f"replication.connections[0].type {connection.type!r} is not supported yet.", hint="type: postgresql")
        return None
    return check_address(connection, "source", note)


def _check_heartbeat(settings: ServiceSettings, note: Any) -> float:
    """Seconds between heartbeats; the default where the given ones are refused."""
    connections = settings.replication.connections
    seconds = as_number(connections[0].heartbeat_interval_seconds) if connections else HEARTBEAT_SECONDS_MAX
    if seconds is not None and HEARTBEAT_SECONDS_MIN <= seconds <= HEARTBEAT_SECONDS_MAX:
        return seconds
    limits = f"{HEARTBEAT_SECONDS_MIN} to {HEARTBEAT_SECONDS_MAX}"
    note(f"heartbeat_interval_seconds of the source must be a number from {limits}.", code="PSYNC_S1109")
    return HEARTBEAT_SECONDS_MAX


def _check_storage(settings: ServiceSettings, folder: Path, environment: Mapping[str, str], note: Any) -> Path:
    storage = settings.storage
    if storage is not None and storage.type not in ("sqlite", "postgresql"):
        hint = _MONGODB_HINT if storage.type == "mongodb" else _STORAGE_HINT
        note(f"storage.type {storage.type!r} is not supported.", hint=hint)
    if storage is not None and storage.path:
        return folder / Path(storage.path).expanduser()
    data_home = environment.get("XDG_DATA_HOME") or str(
        Path(environment.get("HOME", "~")).expanduser() / ".local/share"
    )
    return Path(data_home) / "syncline" / "storage"


def _check_postgres_storage(settings: ServiceSettings, note: Any) -> PostgresStorageConfig | None:
    storage = settings.storage
    if storage is None or storage.type != "postgresql":
        return None
    address = check_address(storage, "storage", note)
    pool_size = as_number(storage.max_pool_size)
    if pool_size is None or pool_size < 1:
        note("storage.max_pool_size must be a number from 1.")
    if not is_schema_name(storage.schema):
        note(
            f"storage.schema {storage.schema!r} cannot be used.",
            hint="Choose up to 40 lower-case letters, digits and underscores, such as syncline.",
        )
    return PostgresStorageConfig(address, storage.schema, pool_size) if address and pool_size else None


def _inline_sync_config(sync: SyncConfigSettings, environment: Mapping[str, str], note: Any) -> str | None:
    encoded = environment.get("POWERSYNC_SYNC_CONFIG_B64") or environment.get("POWERSYNC_SYNC_RULES_B64")
    if not encoded:
        return None if sync.path else sync.content
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        note("POWERSYNC_SYNC_CONFIG_B64 is not base64 of UTF-8 text.")
        return None


def _joined(problems: list[ConfigError]) -> ConfigError:
    if len(problems) == 1:
        return problems[0]
    text = "\n".join(str(problem) for problem in problems)
    return ConfigError(f"The configuration has {len(problems)} problems:\n{text}", code=problems[0].error_code)
