"""The sync config that the service's configuration names: read, compiled, and what its author should know of it logged."""

from __future__ import annotations

import logging

from syncline.api.admin.deployments import WantedConfig
from syncline.errors import ConfigError, SyncConfigError
from syncline.service.config import ServiceConfig
from syncline.storage.sqlite.expression_engine import SqliteExpressionEngine
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.schema import SourceSchema

__all__ = ["compile_plan", "configured_sync_config"]

log = logging.getLogger(__name__)

STREAMS_EDITION = 3


def compile_plan(text: str, schema: SourceSchema | None = None) -> CompiledPlan:
    """Compile a sync config, with an engine for those that ask for one. Raises SyncConfigError."""
    return compile_sync_config(text, schema=schema, engine=SqliteExpressionEngine())


def configured_sync_config(config: ServiceConfig, *, may_end: bool = True) -> WantedConfig | None:
    """The config that the configuration names; None where it names none, and one is deployed through the API.

    Raises ConfigError or SyncConfigError where it cannot be read or used. With `sync_config.exit_on_error` off, and without
    `may_end` (a process that does not replicate), the error is in the answer instead, and what was deployed before goes on.
    """
    if not config.has_sync_config:
        log.info("No sync config: waiting for one to be deployed", extra={"event": "sync_config.none"})
        return None
    text = ""
    try:
        text = config.sync_config_text()
        plan = compile_plan(text)
    except (ConfigError, SyncConfigError) as exc:
        if isinstance(exc, SyncConfigError):
            log.error("The sync config cannot be used:\n%s", exc, extra={"event": "sync_config.invalid"})
        if may_end and config.exit_on_error:
            raise
        log.warning("What was deployed before goes on", extra={"event": "sync_config.kept"})
        return WantedConfig(text, error=str(exc))
    _tell(plan)
    return WantedConfig(text, plan=plan)


def _tell(plan: CompiledPlan) -> None:
    for warning in plan.warnings:
        log.warning("Sync config: %s", warning, extra={"event": "sync_config.warning"})
    if plan.options.edition < STREAMS_EDITION:
        log.info(
            "The sync config has bucket_definitions (sync rules), which go on to work. Streams (edition 3) can do more;"
            " `syncline migrate sync-rules` turns the one into the other.",
            extra={"event": "sync_config.legacy"},
        )
