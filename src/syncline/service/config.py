"""Reading and checking the service's configuration. All problems are reported at once, with path and hint.

Where it is found: `syncline.service.config_file`. Its keys: `syncline.service.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec

from syncline.errors import ConfigError
from syncline.service.addresses import DatabaseAddress, Note, as_number, check_address
from syncline.service.config_file import ConfigFile, ConfigSources, decode_base64, find_config
from syncline.service.config_notes import notes_of, refuse_misplaced, without_secret_shapes
from syncline.service.log_settings import LogConfig, check_logging
from syncline.service.settings import ServiceSettings, SyncConfigSettings
from syncline.service.source_kinds import POSTGRES_LINES, refused_source, refused_storage
from syncline.service.yaml_env import load_document
from syncline.storage.postgres.statements import is_schema_name

__all__ = ["ConfigSources", "PostgresStorageConfig", "ProbeConfig", "ServiceConfig", "SyncConfigMissing", "load_config"]

HEARTBEAT_SECONDS_MIN, HEARTBEAT_SECONDS_MAX = 5, 60
DEFAULT_HOST = "127.0.0.1"
STORAGE_VERSIONS = (1, 2, 3)  # of the reference: accepted, so that its files work here
_SLOT_PREFIX = re.compile(r"[a-z0-9_]{1,40}")  # Postgres allows 63 characters, a version's number takes 20


class SyncConfigMissing(ConfigError):
    """The configuration names no sync config, or one that cannot be read."""


@dataclass(frozen=True, slots=True)
class PostgresStorageConfig:
    """Bucket storage in a Postgres database: where it is, in which schema, and reading connections of a process."""

    address: DatabaseAddress
    schema: str
    pool_size: int


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """Which probes there are. `http_always` is false where HTTP probes are only there because nothing was said about them."""

    files: bool
    http: bool
    http_always: bool = False


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
    probes: ProbeConfig
    prometheus_port: int | None
    logging: LogConfig
    name: str  # of the file, for logs
    notes: tuple[str, ...] = ()  # what has no effect, or an old name; to be logged once

    @property
    def has_sync_config(self) -> bool:
        """Whether the configuration names a sync config; else one is deployed through the API."""
        return self.sync_config_content is not None or self.sync_config_path is not None

    @property
    def exit_on_error(self) -> bool:
        """Whether a sync config that cannot be used ends the service."""
        sync = self.settings.sync_config or self.settings.sync_rules
        return sync is None or sync.exit_on_error

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no log line may hold."""
        found = [self.source.password, self.source.client_private_key, self.settings.client_auth.supabase_jwt_secret]
        if self.storage_postgres is not None:
            found += [self.storage_postgres.address.password, self.storage_postgres.address.client_private_key]
        found += self.settings.api.tokens
        found += [str(key["k"]) for key in self.settings.client_auth.jwks.keys if "k" in key]
        return tuple(dict.fromkeys(text for text in found if text))

    def sync_config_text(self) -> str:
        """Text of the sync config. Raises SyncConfigMissing when there is none, or the file cannot be read."""
        if self.sync_config_content is not None:
            return self.sync_config_content
        if self.sync_config_path is None:
            raise SyncConfigMissing("There is no sync config.", hint="sync_config:\n  path: sync-config.yaml")
        try:
            return self.sync_config_path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise SyncConfigMissing(
                f"The sync config {self.sync_config_path} cannot be read: {getattr(exc, 'strerror', None) or exc}",
                hint="sync_config.path is relative to the folder of the configuration file.",
            ) from exc


def load_config(
    *,
    path: Path | None = None,
    base64_text: str | None = None,
    sync_config_base64: str | None = None,
    environment: Mapping[str, str],
    working_directory: Path,
) -> ServiceConfig:
    """Find and check the configuration. Raises ConfigError with everything that is wrong with it."""
    sources = ConfigSources(path, base64_text, sync_config_base64)
    file = find_config(sources, environment, working_directory)
    document = load_document(file.text, environment, name=file.name)
    if not isinstance(document, dict):
        raise ConfigError(f"{file.name} must be a map of settings.", hint=f"Begin with\n{POSTGRES_LINES}")
    document = cast("dict[str, Any]", document)
    refuse_misplaced(document, file.name)
    document = cast("dict[str, Any]", without_secret_shapes(document, file.name))
    # A section whose name stands there with nothing below it is a section without keys.
    document = {key: value for key, value in document.items() if value is not None}
    try:
        settings = msgspec.convert(document, ServiceSettings, strict=True)
    except msgspec.ValidationError as exc:
        raise _type_error(exc, file.name) from exc
    return _Checker(settings, file, environment, sources).check(tuple(notes_of(document)))


class _Checker:
    """Checks what types cannot say, and notes all problems."""

    def __init__(
        self, settings: ServiceSettings, file: ConfigFile, environment: Mapping[str, str], sources: ConfigSources
    ) -> None:
        self._settings = settings
        self._file = file
        self._environment = environment
        self._sources = sources
        self._problems: list[ConfigError] = []

    def check(self, notes: tuple[str, ...]) -> ServiceConfig:
        """The configuration. Raises ConfigError with all problems."""
        settings, environment = self._settings, self._environment
        source = self._source()
        postgres = self._postgres_storage()
        storage_path = self._storage_path()
        heartbeat_s = self._heartbeat()
        port = self._port("port", settings.port)
        prometheus_port = settings.telemetry.prometheus_port
        metrics_port = self._port("telemetry.prometheus_port", prometheus_port) if prometheus_port is not None else None
        sync = settings.sync_config or settings.sync_rules or SyncConfigSettings()
        content = self._inline_sync_config(sync)
        logging_config = check_logging(settings.system.logging, settings.metadata, environment, self._note)
        self._slot_prefix()
        if self._problems:
            raise _joined(self._problems)
        assert source is not None
        assert port is not None
        return ServiceConfig(
            settings=settings,
            source=source,
            slot_name_prefix=settings.replication.connections[0].slot_name_prefix,
            heartbeat_interval_s=heartbeat_s,
            storage_path=storage_path,
            storage_postgres=postgres,
            host=environment.get("SYNCLINE_HOST") or settings.host or DEFAULT_HOST,
            port=port,
            sync_config_path=self._file.folder / sync.path if sync.path and content is None else None,
            sync_config_content=content,
            probes=_probes(settings),
            prometheus_port=metrics_port,
            logging=logging_config,
            name=self._file.name,
            notes=notes,
        )

    @property
    def _note(self) -> Note:
        def note(message: str, *, code: str = "PSYNC_S3201", hint: str = "") -> None:
            self._problems.append(ConfigError(f"{self._file.name}: {message}", code=code, hint=hint))

        return note

    def _source(self) -> DatabaseAddress | None:
        connections = self._settings.replication.connections
        if not connections:
            self._note("No connection found in config: replication.connections is empty.", hint=POSTGRES_LINES)
            return None
        if len(connections) > 1:
            self._note(f"replication.connections has {len(connections)} entries; exactly one is supported.")
        refused = refused_source(connections[0].type)
        if refused:
            self._note(refused[0], hint=refused[1])
            return None
        return check_address(connections[0], "source", self._note)

    def _slot_prefix(self) -> None:
        for connection in self._settings.replication.connections[:1]:
            if not _SLOT_PREFIX.fullmatch(connection.slot_name_prefix):
                self._note(
                    f"slot_name_prefix {connection.slot_name_prefix!r} cannot begin the name of a replication slot.",
                    hint="Choose up to 40 lower-case letters, digits and underscores.",
                )

    def _heartbeat(self) -> float:
        """Seconds between heartbeats; the default where the given ones are refused."""
        connections = self._settings.replication.connections
        seconds = as_number(connections[0].heartbeat_interval_seconds) if connections else HEARTBEAT_SECONDS_MAX
        if seconds is not None and HEARTBEAT_SECONDS_MIN <= seconds <= HEARTBEAT_SECONDS_MAX:
            return seconds
        limits = f"{HEARTBEAT_SECONDS_MIN} to {HEARTBEAT_SECONDS_MAX}"
        self._note(f"heartbeat_interval_seconds of the source must be a number from {limits}.", code="PSYNC_S1109")
        return HEARTBEAT_SECONDS_MAX

    def _port(self, key: str, value: int | str) -> int | None:
        port = as_number(value)
        if port is None or not 0 <= port <= 65535:
            self._note(f"{key} must be a number from 0 to 65535.")
            return None
        return port

    def _storage_path(self) -> Path:
        storage, environment = self._settings.storage, self._environment
        if storage is not None:
            refused = refused_storage(storage.type)
            if refused:
                self._note(refused[0], hint=refused[1])
            version = as_number(storage.default_storage_version)
            if storage.default_storage_version is not None and version not in STORAGE_VERSIONS:
                self._note(
                    f"storage.default_storage_version {storage.default_storage_version!r} is not supported.",
                    code="PSYNC_S1005",
                    hint="Leave it out: Syncline keeps track of its storage's layout by itself.",
                )
            if storage.path:
                return self._file.folder / Path(storage.path).expanduser()
        home = Path(environment.get("HOME", "~")).expanduser()
        return Path(environment.get("XDG_DATA_HOME") or home / ".local/share") / "syncline" / "storage"

    def _postgres_storage(self) -> PostgresStorageConfig | None:
        storage = self._settings.storage
        if storage is None or storage.type != "postgresql":
            return None
        address = check_address(storage, "storage", self._note)
        pool_size = as_number(storage.max_pool_size)
        if pool_size is None or pool_size < 1:
            self._note("storage.max_pool_size must be a number from 1.")
        if not is_schema_name(storage.schema):
            self._note(
                f"storage.schema {storage.schema!r} cannot be used.",
                hint="Choose up to 40 lower-case letters, digits and underscores, such as syncline.",
            )
        return PostgresStorageConfig(address, storage.schema, pool_size) if address and pool_size else None

    def _inline_sync_config(self, sync: SyncConfigSettings) -> str | None:
        """The text that the command line, the environment or the file holds itself; None where a file is named, or nothing."""
        environment = self._environment
        candidates = {
            "-sync64": self._sources.sync_config_base64,
            "POWERSYNC_SYNC_CONFIG_B64": environment.get("POWERSYNC_SYNC_CONFIG_B64"),
            "POWERSYNC_SYNC_RULES_B64": environment.get("POWERSYNC_SYNC_RULES_B64"),
        }
        for origin, encoded in candidates.items():
            if encoded:
                try:
                    return decode_base64(encoded, origin)
                except ConfigError as exc:
                    self._note(exc.message, hint="Make it with: base64 -w0 sync-config.yaml")
                    return None
        return None if sync.path else sync.content


def _probes(settings: ServiceSettings) -> ProbeConfig:
    """Without the section there are both kinds; with it, each has to be asked for (service config reference, 6)."""
    probes = settings.healthcheck.probes
    if probes is None:
        return ProbeConfig(files=True, http=True)
    http = probes.use_http or probes.use_legacy
    return ProbeConfig(files=probes.use_filesystem or probes.use_legacy, http=http, http_always=probes.use_http)


def _type_error(exc: msgspec.ValidationError, name: str) -> ConfigError:
    """The library says "Expected `str`, got `int` - at `$.api.tokens[0]`": the place goes first, and a hint is added."""
    problem, _, place = str(exc).partition(" - at ")
    key = place.strip("`").removeprefix("$.").removeprefix("$") or "the file"
    hint = ""
    if problem.startswith(("Expected `str`", "Expected `str | null`")):
        hint = "Put the value into quotes."
    elif problem.startswith("Expected `array"):
        hint = f"{key.rpartition('.')[2]}: [ … ]"
    elif problem.startswith("Object missing required field"):
        missing = problem.partition("`")[2].rstrip("`")
        hint = POSTGRES_LINES if missing == "type" and key.startswith("replication") else f"Add `{missing}: …` there."
    return ConfigError(f"{name}: {key}: {problem[0].lower()}{problem[1:]}", hint=hint)


def _joined(problems: list[ConfigError]) -> ConfigError:
    if len(problems) == 1:
        return problems[0]
    text = "\n".join(str(problem) for problem in problems)
    return ConfigError(f"The configuration has {len(problems)} problems:\n{text}", code=problems[0].error_code)
