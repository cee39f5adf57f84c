"""The settings of the service's configuration file, typed. Keys and defaults are the field's (docs/reference/configuration.md).

Unknown keys are accepted, as in the reference, so that a file written for it works here as it is.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ApiParameters",
    "ApiSettings",
    "ClientAuthSettings",
    "JwksSettings",
    "ReplicationSettings",
    "ServiceSettings",
    "SourceSettings",
    "StorageSettings",
    "SyncConfigSettings",
]

Number = int | str
"""A number, or a text that is one: environment variables are texts."""


class SourceSettings(msgspec.Struct, kw_only=True):
    """`replication.connections[]`: the source database. Explicit keys override the parts of `uri`."""

    type: str
    id: str = "default"
    tag: str = "default"
    uri: str | None = None
    hostname: str | None = None
    port: Number | None = None
    username: str | None = None
    password: str | None = None
    database: str | None = None
    sslmode: str = "verify-full"  # verify-full, verify-ca or disable; never read from the URI
    cacert: str | None = None
    slot_name_prefix: str = "syncline_"
    connect_timeout: Number | None = None
    heartbeat_interval_seconds: Number = (
        60  # 5 to 60: how often an idle source gets a sign of life, so that its log can go
    )


class ReplicationSettings(msgspec.Struct, kw_only=True):
    """`replication`."""

    connections: list[SourceSettings] = []


class StorageSettings(msgspec.Struct, kw_only=True):
    """`storage`: where buckets are kept. The keys of a database are those of `replication.connections[]`; none of them is SQLite's."""

    type: str = "sqlite"  # sqlite or postgresql
    path: str | None = None  # sqlite: a folder, relative to the configuration file
    uri: str | None = None
    hostname: str | None = None
    port: Number | None = None
    username: str | None = None
    password: str | None = None
    database: str | None = None
    sslmode: str = "verify-full"  # verify-full, verify-ca or disable; never read from the URI
    cacert: str | None = None
    connect_timeout: Number | None = None
    max_pool_size: Number = 8  # postgresql: reading connections of a process
    schema: str = "syncline"  # ours, postgresql: made where it is not there
    batch_limits: dict[str, Any] = {}  # accepted; batches are bounded by bytes and rows of our own


class JwksSettings(msgspec.Struct, kw_only=True):
    """`client_auth.jwks`: keys written into the file."""

    keys: list[dict[str, Any]] = []


class ClientAuthSettings(msgspec.Struct, kw_only=True):
    """`client_auth`: whose tokens are accepted. Without an audience every token is refused (PSYNC_S2105)."""

    jwks_uri: str | list[str] | None = None
    jwks: JwksSettings = msgspec.field(default_factory=JwksSettings)
    audience: list[str] = []


class ApiParameters(msgspec.Struct, kw_only=True):
    """`api.parameters`: limits of the API; see `syncline.sync.limits`."""

    max_concurrent_connections: int = 200
    max_data_fetch_concurrency: int = 10
    max_buckets_per_connection: int = 1000
    max_parameter_query_results: int = 1000


class ApiSettings(msgspec.Struct, kw_only=True):
    """`api`."""

    tokens: list[str] = []
    parameters: ApiParameters = msgspec.field(default_factory=ApiParameters)


class SyncConfigSettings(msgspec.Struct, kw_only=True):
    """`sync_config` (older: `sync_rules`): a file relative to the configuration file, or the text itself."""

    path: str | None = None
    content: str | None = None
    exit_on_error: bool = True


class LoggingSettings(msgspec.Struct, kw_only=True):
    """`system.logging`."""

    level: str = "info"
    format: str = "text"


class SystemSettings(msgspec.Struct, kw_only=True):
    """`system`."""

    logging: LoggingSettings = msgspec.field(default_factory=LoggingSettings)


class ServiceSettings(msgspec.Struct, kw_only=True):
    """The whole file."""

    replication: ReplicationSettings = msgspec.field(default_factory=ReplicationSettings)
    storage: StorageSettings | None = None
    client_auth: ClientAuthSettings = msgspec.field(default_factory=ClientAuthSettings)
    api: ApiSettings = msgspec.field(default_factory=ApiSettings)
    sync_config: SyncConfigSettings | None = None
    sync_rules: SyncConfigSettings | None = None
    system: SystemSettings = msgspec.field(default_factory=SystemSettings)
    port: Number = 8080
    host: str | None = None  # ours; SYNCLINE_HOST overrides it, 127.0.0.1 is the default
