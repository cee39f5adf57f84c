"""The check `sync-config`: by the running service, by asking the source directly, or by the text alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncline.cli.admin_client import AdminClient, AdminRefused
from syncline.cli.exit_codes import CommandFailed, ServiceUnreachable
from syncline.cli.validation.results import CheckResult, placed
from syncline.errors import SyncConfigError

if TYPE_CHECKING:
    from syncline.service.config import ServiceConfig
    from syncline.sync_config import CompiledPlan
    from syncline.sync_config.schema import SourceSchema

__all__ = ["check_by_service", "check_by_source", "check_by_text", "read_sync_config"]

ASK_AGAIN = "Is the instance linked and running? Without it: syncline validate --offline"


def read_sync_config(path: Path) -> str | None:
    """The text of a sync config; None where there is no such file, or nothing in it. Raises CommandFailed."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandFailed(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    return text if text.strip() else None


def check_by_service(text: str, client: AdminClient) -> CheckResult:
    """What the running service says. That it does not answer is a failed check."""
    result = CheckResult("sync-config")
    try:
        found = client.validate(text)
    except ServiceUnreachable as exc:
        result.errors.append(f"The sync config could not be checked: {exc.message}\n{ASK_AGAIN}")
        return result
    except AdminRefused as exc:
        result.errors.append(f"The sync config could not be checked: {exc}")
        return result
    for error in found.get("errors", []):
        note(result, error.get("level", "fatal"), error.get("message", ""), text, error.get("location"))
    return result


def check_by_source(text: str, config: ServiceConfig) -> CheckResult:
    """What the service would say: the source is asked for its tables directly. Raises SourceError where it cannot be."""
    from syncline.api.admin.status import NO_REPLICATION, SourceAnswer, StatusWriter
    from syncline.api.admin.sync_rules import SourceTables, source_schema
    from syncline.replication.postgres.inspector import PostgresInspector
    from syncline.replication.postgres.source import PUBLICATION
    from syncline.service.conninfo import conninfo
    from syncline.storage.postgres.statements import DEFAULT_SCHEMA

    result = CheckResult("sync-config")
    storage = config.storage_postgres.schema if config.storage_postgres else DEFAULT_SCHEMA
    with contextlib.ExitStack() as closing:
        source = conninfo(config.source, closing)
        tables = asyncio.run(PostgresInspector(source, publication=PUBLICATION, ignored_schema=storage).tables())
    plan = _compiled(text, result, source_schema(tables))
    if plan is not None:
        writer = StatusWriter(connection_id="default", tag="default", replication=NO_REPLICATION)
        answer = writer.of_text(None, plan, SourceAnswer(SourceTables(tables)))
        for error in answer["errors"]:
            note(result, error["level"], error["message"], text, None)
    return result


def check_by_text(text: str) -> CheckResult:
    """What can be said without a source: whether tables and columns exist is not known."""
    result = CheckResult("sync-config")
    _compiled(text, result)
    result.warnings.append("Checked without the source: whether tables and columns exist is not known.")
    return result


def _compiled(text: str, result: CheckResult, schema: SourceSchema | None = None) -> CompiledPlan | None:
    """The plan, with what the compiler says of the text in `result`; None where it cannot be used."""
    from syncline.service.sync_configs import compile_plan

    plan = None
    try:
        plan = compile_plan(text, schema)
        problems = plan.warnings
    except SyncConfigError as exc:
        problems = exc.problems
    for problem in problems:
        note(result, problem.severity.value, problem.message, text, {"start_offset": problem.start_offset})
    return plan


def note(result: CheckResult, level: str, message: str, text: str, location: Mapping[str, Any] | None) -> None:
    """Add a finding, with its place in the sync config where it has one."""
    told = placed(message, text, location.get("start_offset") if location else None)
    (result.warnings if level == "warning" else result.errors).append(told)
