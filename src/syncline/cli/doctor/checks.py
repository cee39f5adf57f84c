"""All checks of `doctor`, in the order in which causes come: what fails above explains what fails below."""

from __future__ import annotations

from syncline.cli.doctor import (
    clocks,
    configuration,
    endpoint,
    idle,
    service,
    slots,
    source,
    storage,
    sync_config,
    tokens,
)
from syncline.cli.doctor.case import Check

__all__ = ["CHECKS"]

CHECKS: tuple[Check, ...] = (
    Check("config", "The configuration can be used", configuration.configuration),
    Check("source", "The source database can be reached", source.reachable, ("config",)),
    Check("wal-level", "The source writes a logical log", source.wal_level, ("source",)),
    Check("rights", "The role may replicate and read", source.rights, ("source",)),
    Check("publication", "The publication has the tables of the sync config", source.publication, ("source",)),
    Check("storage", "Bucket storage can be reached", storage.storage, ("config",)),
    Check("slot", "The replication slot is there and good", slots.slots, ("source", "wal-level")),
    Check("row-security", "The role sees all rows", source.row_security, ("source",)),
    Check("replica-identity", "Updates and deletes name their rows", source.replica_identity, ("source",)),
    Check("sync-config", "The sync config can be used", sync_config.sync_config),
    Check("service", "The service answers", service.reachable),
    Check("probes", "The service is ready", service.ready, ("service",)),
    Check("admin-api", "The admin API lets us in", service.admin_api, ("service",)),
    Check("first-copy", "The tables are copied", service.first_copy, ("admin-api",)),
    Check("replication", "The service reports no errors", service.reported, ("admin-api",)),
    Check("slot-read", "The service reads its slot", slots.being_read, ("source", "storage", "service")),
    Check("keys", "The keys for tokens can be fetched", tokens.keys, ("config",)),
    Check("service-clock", "The service's clock is right", clocks.service_clock, ("service",)),
    Check("source-clock", "The source's clock is right", clocks.source_clock, ("source",)),
    Check("token", "The token is one", tokens.form),
    Check("token-signature", "A key of the service verifies the token", tokens.signature, ("token", "config", "keys")),
    Check("token-audience", "The token is for this service", tokens.audience, ("token", "config")),
    Check("token-claims", "The token says who the user is", tokens.claims, ("token",)),
    Check("token-times", "The token is good now", tokens.times, ("token",)),
    Check("endpoint", "The endpoint is a sync service", endpoint.endpoint),
    Check("stream", "The stream sends lines at once", endpoint.lines, ("endpoint",)),
    Check("idle-stream", "A silent stream stays open", idle.idle_stream, ("stream",)),
    Check("web-socket", "WebSockets come through", endpoint.web_socket, ("endpoint",)),
    Check("cors", "Browsers may use it", endpoint.cors, ("endpoint",)),
)
