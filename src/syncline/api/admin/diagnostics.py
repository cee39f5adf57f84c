"""`diagnostics`, `validate` and `schema` of the admin API: what the source, storage and replication say, put together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from syncline.api.admin.deployments import Deployments, NothingActive, Standing, WantedConfig
from syncline.api.admin.status import SourceAnswer, StatusWriter, iso_time, now_ms
from syncline.api.admin.sync_rules import DEFAULT_SCHEMA, SourceTables, described_plan, source_schema
from syncline.errors import SourceError, SyncConfigError
from syncline.replication.inspection import SourceInspector, SourceTable
from syncline.storage.control_model import VersionReport
from syncline.sync_config import CompiledPlan
from syncline.sync_config.problems import Problem
from syncline.sync_config.schema import SourceSchema

__all__ = ["Diagnostics", "SourceConnection", "problem_text"]


@dataclass(frozen=True, slots=True)
class SourceConnection:
    """The connection of the configuration, without what must stay secret. `uri` names neither user nor password."""

    id: str
    tag: str
    uri: str
    debug_api: bool = False  # lets administrators run SQL on the source


class Diagnostics:
    """Answers for administrators. `compile_with` compiles a config against a schema; it raises SyncConfigError."""

    def __init__(
        self,
        *,
        connection: SourceConnection,
        inspector: SourceInspector,
        deployments: Deployments,
        statuses: StatusWriter,
        compile_with: Callable[[str, SourceSchema], CompiledPlan],
    ) -> None:
        self._connection = connection
        self._inspector = inspector
        self._deployments = deployments
        self._statuses = statuses
        self._compile_with = compile_with

    async def diagnostics(self, *, content: bool) -> dict[str, Any]:
        """The connection, and how the active and the deploying config stand. `content`: with their texts."""
        standing = await self._deployments.standing()
        reports = [report for report in (standing.active, standing.processing) if report is not None]
        source = await self._ask_source([report.version.slot_name for report in reports])
        problems = [source.tables.failure] if source.tables.failure else list(source.problems)
        answer: dict[str, Any] = {
            "connections": [
                {
                    "id": self._connection.id,
                    "postgres_uri": self._connection.uri,
                    "connected": source.connected,
                    "errors": [{"level": "fatal", "message": problem} for problem in problems],
                }
            ]
        }
        if standing.active is not None:
            alone = not standing.is_deploying or standing.wish is not None
            answer["active_sync_rules"] = await self._version(standing.active, source, content, is_replicated=alone)
        if standing.processing is not None:
            answer["deploying_sync_rules"] = await self._version(
                standing.processing, source, content, is_replicated=True
            )
        elif standing.wish is not None:
            answer["deploying_sync_rules"] = self._wish(standing.wish, source, content, standing)
        return answer

    async def current(self) -> dict[str, Any]:
        """The active config and the next one, described. Raises NothingActive (PSYNC_S4104)."""
        standing = await self._deployments.standing()
        if standing.active is None:
            raise NothingActive("No sync config is active.")
        source = (await self._ask_source([])).tables
        following: dict[str, Any] | None = None
        if standing.processing is not None:
            following = await self._described(standing.processing, source)
        elif standing.wish is not None:
            slot_name = self._deployments.slot_name_of(standing.wish)
            following = {"slot_name": slot_name, "content": standing.wish.text}
            plan, error = standing.wish.plan, standing.wish.error
            following |= described_plan(plan, source) if plan else {"valid": False, "errors": [error]}
        return {"current": await self._described(standing.active, source), "next": following}

    async def validate(self, text: str) -> dict[str, Any]:
        """How a config would stand, with everything that is wrong with it or looks wrong."""
        source = await self._ask_source([])
        try:
            plan = await self._deployments.compile(text)
            # Once more with the source's tables: now those that are not there are warned of.
            with contextlib.suppress(SyncConfigError):
                if source.connected:
                    schema = source_schema(source.tables.tables)
                    plan = await asyncio.to_thread(self._compile_with, text, schema)
        except SyncConfigError as exc:
            return {"connections": [], "errors": _problem_errors(exc.problems)}
        return self._statuses.of_text(None, plan, source, errors=_problem_errors(plan.warnings))

    async def described(self, text: str) -> dict[str, Any]:
        """What a config holds, or the texts of what is wrong with it."""
        try:
            plan = await self._deployments.compile(text)
        except SyncConfigError as exc:
            return {"valid": False, "errors": [problem_text(problem) for problem in exc.problems]}
        return described_plan(plan, (await self._ask_source([])).tables)

    async def schema(self) -> dict[str, Any]:
        """All tables of the source with their columns. Raises SourceError where it cannot be asked."""
        schemas: dict[str, list[dict[str, Any]]] = {}
        for table in await self._inspector.tables():
            schemas.setdefault(table.schema, []).append({"name": table.name, "columns": _columns(table)})
        listed = [{"name": name, "tables": tables} for name, tables in schemas.items()]
        connection = {"id": self._connection.id, "tag": self._connection.tag, "schemas": listed}
        return {
            "connections": [connection],
            "defaultConnectionTag": self._connection.tag,
            "defaultSchema": DEFAULT_SCHEMA,
        }

    async def _ask_source(self, slot_names: Sequence[str]) -> SourceAnswer:
        """What the source says; that it cannot be asked is an answer too."""
        try:
            problems = await self._inspector.problems()
            tables = SourceTables(await self._inspector.tables())
            slots = await self._inspector.slots(slot_names) if slot_names else {}
        except SourceError as exc:
            return SourceAnswer(SourceTables(failure=str(exc), failed_at=iso_time(now_ms())))
        return SourceAnswer(tables, tuple(problems), slots)

    async def _version(
        self, report: VersionReport, source: SourceAnswer, content: bool, *, is_replicated: bool
    ) -> dict[str, Any]:
        plan = await self._plan(report)
        return self._statuses.of_version(report, plan, source, content=content, is_replicated=is_replicated)

    def _wish(self, wish: WantedConfig, source: SourceAnswer, content: bool, standing: Standing) -> dict[str, Any]:
        text = wish.text if content else None
        if wish.plan is None:
            return self._statuses.of_error(text, wish.error)
        errors: list[dict[str, Any]] = []
        failure = source.tables.failure or (self._statuses.replication_error if standing.active is None else "")
        if failure:
            errors = [{"level": "fatal", "message": failure}]
        return self._statuses.of_text(
            text, wish.plan, source, slot_name=self._deployments.slot_name_of(wish), errors=errors
        )

    async def _described(self, report: VersionReport, source: SourceTables) -> dict[str, Any]:
        version = report.version
        head = {"slot_name": version.slot_name, "content": version.sync_config}
        plan = await self._plan(report)
        return head | (described_plan(plan, source) if plan else {"valid": False, "errors": ["It cannot be compiled."]})

    async def _plan(self, report: VersionReport) -> CompiledPlan | None:
        """The plan of a version; None where an older release could use its config and this one cannot."""
        try:
            return await self._deployments.compile(report.version.sync_config)
        except SyncConfigError:
            return None


def problem_text(problem: Problem) -> str:
    """A problem as one line of text."""
    return f"line {problem.line}, column {problem.column}: {problem.message}"


def _problem_errors(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    at = iso_time(now_ms())
    return [
        {
            "level": problem.severity.value,
            "message": problem.message,
            "location": {"start_offset": problem.start_offset, "end_offset": problem.end_offset},
            "ts": at,
        }
        for problem in problems
    ]


def _columns(table: SourceTable) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "sqlite_type": column.sqlite_type,
            "internal_type": column.type_name,
            "type": column.type_name,
            "pg_type": column.short_type_name,
        }
        for column in table.columns
    ]
