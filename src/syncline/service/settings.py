"""The settings of the service's configuration file, typed. Keys and defaults are the field's (docs/reference/service-config.md, 2).

Unknown keys are accepted, as in the reference, so that a file written for it works here as it is; what is noted about them:
`syncline.service.config_notes`. The comments beside the keys go into docs/reference/configuration.md.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

__all__ = [
    "ApiParameters",
    "ApiSettings",
    "BatchLimits",
    "ClientAuthSettings",
    "HealthcheckSettings",
    "JwksSettings",
    "LoggingSettings",
    "MigrationSettings",
    "ProbeSettings",
    "ReplicationSettings",
    "ServiceSettings",
    "SourceSettings",
    "StorageSettings",
    "SyncConfigSettings",
    "SystemSettings",
    "TelemetrySettings",
]

Number = int | str
"""A number, or a text that is one: environment variables are texts."""
Positive = Annotated[int, msgspec.Meta(ge=1)]
Scalar = str | int | float | bool | None


class SourceSettings(msgspec.Struct, kw_only=True):
    """`replication.connections[]`: the source database; exactly one. Explicit keys override the parts of `uri`."""

    type: str  # postgresql
    id: str = "default"
    tag: str = "default"
    debug_api: bool = False  # lets the admin API run SQL on the source
    uri: str | None = None  # postgresql://user:password@host:port/database, with connect_timeout as its only parameter
    hostname: str | None = None
    port: Number | None = None  # 5432 unless uri says otherwise; from 1024 on
    username: str | None = None
    password: str | None = None
    database: str | None = None
    sslmode: str = "verify-full"  # verify-full, verify-ca or disable; never read from the URI
    cacert: str | None = None  # PEM; the system's certificates without it; needed for verify-ca
    client_certificate: str | None = None  # PEM, together with client_private_key
    client_private_key: str | None = None  # PEM
    tls_servername: str | None = None  # the name that the server's certificate has to carry, where it is not hostname
    reject_ip_ranges: list[str] = []  # like 10.0.0.0/8, or local: a host that resolves into one of them is refused
    slot_name_prefix: str = "syncline_"  # of replication slots; lower-case letters, digits and underscores
    max_pool_size: Number = 8  # accepted; the source gets three connections, one more while tables are copied
    connect_timeout: Number | None = None  # seconds, 10 by default; also ?connect_timeout= in uri
    snapshot_socket_timeout: Number | None = None  # accepted; a peer that is gone is noticed within 10 s anyway
    heartbeat_interval_seconds: Number = 60  # 5 to 60: signs of life on an idle source, so that its log can go


class ReplicationSettings(msgspec.Struct, kw_only=True):
    """`replication`."""

    connections: list[SourceSettings] = []


class BatchLimits(msgspec.Struct, kw_only=True):
    """`storage.batch_limits`: accepted and checked; batches are bounded by bytes and rows of our own."""

    max_estimated_size: Positive | None = None  # bytes
    max_record_count: Positive | None = None
    max_current_data_batch_size: Positive | None = None  # bytes


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
    cacert: str | None = None  # PEM
    client_certificate: str | None = None  # PEM, together with client_private_key
    client_private_key: str | None = None  # PEM
    tls_servername: str | None = None
    reject_ip_ranges: list[str] = []
    connect_timeout: Number | None = None
    max_pool_size: Number = 8  # postgresql: reading connections of a process
    schema: str = "syncline"  # ours, postgresql: made where it is not there
    default_storage_version: Number | None = None  # 1 to 3 are accepted; the layout is our own
    batch_limits: BatchLimits = msgspec.field(default_factory=BatchLimits)


class JwksSettings(msgspec.Struct, kw_only=True):
    """`client_auth.jwks`: keys written into the file."""

    keys: list[dict[str, Any]] = []  # JSON Web Keys: RSA, EC, OKP, oct


class ClientAuthSettings(msgspec.Struct, kw_only=True):
    """`client_auth`: whose tokens are accepted. Without an audience every token is refused (PSYNC_S2105)."""

    jwks_uri: str | list[str] | None = None
    jwks: JwksSettings = msgspec.field(default_factory=JwksSettings)
    audience: list[str] = []
    supabase: bool = False  # keys and audience of the Supabase project that the source belongs to
    supabase_jwt_secret: str | None = None  # with supabase: the project's old shared secret
    block_local_jwks: bool = False  # deprecated: refuses local addresses for jwks_uri
    jwks_reject_ip_ranges: list[str] = []  # as reject_ip_ranges, for jwks_uri


class ApiParameters(msgspec.Struct, kw_only=True):
    """`api.parameters`: limits of the API; see `syncline.sync.limits`."""

    max_concurrent_connections: Positive = 200  # streams of a process
    max_data_fetch_concurrency: Positive = 10  # readings of bucket data at a time
    max_buckets_per_connection: Positive = 1000
    max_parameter_query_results: Positive = 1000
    checkpoint_request_retention_minutes: Positive = 60  # after which a checkpoint request is forgotten
    bucket_count_cache_ttl_minutes: Positive = 60  # accepted; counts are kept up to date


class ApiSettings(msgspec.Struct, kw_only=True):
    """`api`."""

    tokens: list[str] = []  # of the admin API; without one it refuses everybody
    parameters: ApiParameters = msgspec.field(default_factory=ApiParameters)


class SyncConfigSettings(msgspec.Struct, kw_only=True):
    """`sync_config` (older: `sync_rules`): a file relative to the configuration file, or the text itself."""

    path: str | None = None
    content: str | None = None
    exit_on_error: bool = True  # false: the service goes on with the config that it served last


class MigrationSettings(msgspec.Struct, kw_only=True):
    """`migrations`."""

    disable_auto_migration: bool = False  # true: storage is migrated by `syncline migrate up` alone


class TelemetrySettings(msgspec.Struct, kw_only=True):
    """`telemetry`: Syncline tells nobody anything by itself."""

    prometheus_port: Number | None = None  # port of the metrics; none without it
    disable_telemetry_sharing: bool = False  # accepted; nothing is ever shared


class ProbeSettings(msgspec.Struct, kw_only=True):
    """`healthcheck.probes`: with this section each kind has to be asked for; without it there are files and HTTP."""

    use_filesystem: bool = False  # files in .probes/ of the working directory
    use_http: bool = False  # /probes/startup, /probes/liveness, /probes/readiness
    use_legacy: bool = False  # both


class HealthcheckSettings(msgspec.Struct, kw_only=True):
    """`healthcheck`."""

    probes: ProbeSettings | None = None


class LoggingSettings(msgspec.Struct, kw_only=True):
    """`system.logging`. PS_LOG_LEVEL and PS_LOG_FORMAT override it."""

    level: str | None = None  # silly, debug, verbose, http, info (default), warn, error
    format: str | None = None  # json or text; json where NODE_ENV is production


class SystemSettings(msgspec.Struct, kw_only=True):
    """`system`."""

    logging: LoggingSettings = msgspec.field(default_factory=LoggingSettings)


class ServiceSettings(msgspec.Struct, kw_only=True):
    """The whole file."""

    replication: ReplicationSettings = msgspec.field(default_factory=ReplicationSettings)
    storage: StorageSettings | None = None  # SQLite in the user's data directory without it
    client_auth: ClientAuthSettings = msgspec.field(default_factory=ClientAuthSettings)
    api: ApiSettings = msgspec.field(default_factory=ApiSettings)
    sync_config: SyncConfigSettings | None = None
    sync_rules: SyncConfigSettings | None = None  # deprecated name of sync_config
    port: Number = 8080
    host: str | None = None  # ours; SYNCLINE_HOST overrides it, 127.0.0.1 is the default
    metadata: dict[str, str] = {}  # tags of every log line
    migrations: MigrationSettings = msgspec.field(default_factory=MigrationSettings)
    telemetry: TelemetrySettings = msgspec.field(default_factory=TelemetrySettings)
    healthcheck: HealthcheckSettings = msgspec.field(default_factory=HealthcheckSettings)
    system: SystemSettings = msgspec.field(default_factory=SystemSettings)
    parameters: dict[str, Scalar] = {}  # accepted; reserved
