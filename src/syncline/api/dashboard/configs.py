"""The active sync config with its problems, what was deployed before, and what another config would do to users."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from syncline.api.admin.bodies import text_field
from syncline.api.admin.deployments import Deployments
from syncline.api.admin.status import iso_time
from syncline.api.dashboard.evaluation import EvaluatedConfig, compared, evaluated
from syncline.api.dashboard.limits import PREVIEW_USERS_MAX
from syncline.errors import RequestInvalid, SyncConfigError
from syncline.replication.row_reading import RowSource, TableRows
from syncline.storage.base import StorageControl
from syncline.sync.limits import StreamLimits
from syncline.sync_config import CompiledPlan
from syncline.sync_config.plan import ConnectionData
from syncline.sync_config.problems import Problem, Severity

__all__ = ["Configs", "connection_of", "users_of"]


class Configs:
    """Answers `config` and `preview`."""

    def __init__(
        self, *, deployments: Deployments, control: StorageControl, rows: RowSource, limits: StreamLimits
    ) -> None:
        self._deployments = deployments
        self._control = control
        self._rows = rows
        self._limits = limits
        self._one_preview = asyncio.Lock()  # each holds its rows in memory

    async def config(self) -> dict[str, Any]:
        """The active config with its problems, and the deployments that are remembered, the newest first."""
        active = (await self._deployments.standing()).active
        text = active.version.sync_config if active is not None else None
        problems = await self._problems(text) if text is not None else []
        deployments = await self._control.deployments()
        return {
            "active": None if active is None else {"version": active.version.number, "text": text},
            "problems": problems,
            "may_deploy": self._deployments.may_deploy,
            "deployments": [
                {
                    "number": deployment.number,
                    "deployed_at": iso_time(deployment.deployed_ms),
                    "text": deployment.sync_config,
                    "is_active": deployment.sync_config is not None and deployment.sync_config == text,
                }
                for deployment in reversed(deployments)
            ],
        }

    async def preview(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What `content` would do: its problems with their places, its streams, and for each of `users` what comes and goes.

        Both configs are evaluated over the same rows of the source, read now, so that nothing but the config makes the
        difference. Raises RequestInvalid, and SourceError where the source cannot be asked.
        """
        text, users = text_field(fields, "content"), users_of(fields)
        try:
            plan = await self._deployments.compile(text)
        except SyncConfigError as exc:
            return {"can_be_used": False, "problems": [_problem(problem) for problem in exc.problems]}
        answer: dict[str, Any] = {
            "can_be_used": True,
            "problems": [_problem(problem) for problem in plan.warnings],
            "streams": [
                {"name": stream.name, "auto_subscribe": stream.auto_subscribe, "priority": stream.priority}
                for stream in plan.streams
            ],
        }
        active = await self._active_plan()
        async with self._one_preview:
            return answer | await self._users(active, plan, users)

    async def _users(
        self, active: CompiledPlan | None, plan: CompiledPlan, users: Sequence[ConnectionData]
    ) -> dict[str, Any]:
        plans = [plan] if active is None else [plan, active]
        patterns = list(dict.fromkeys(pattern for one in plans for pattern in one.table_patterns))
        tables = await self._rows.tables(patterns, [one.value_format for one in plans])
        configs = await asyncio.to_thread(_evaluated, plans, tables)
        return {
            "rows_read": sum(len(table.rows) for table in tables[0]),
            "cut_tables": [f"{table.schema}.{table.name}" for table in tables[0] if table.is_cut],
            "failed_rows": configs[0].failed_rows,
            "users": [
                compared(
                    configs[1] if active is not None else None,
                    configs[0],
                    user,
                    buckets_max=self._limits.buckets_max,
                    parameter_results_max=self._limits.parameter_results_max,
                )
                for user in users
            ],
        }

    async def _active_plan(self) -> CompiledPlan | None:
        active = (await self._deployments.standing()).active
        if active is None:
            return None
        try:
            return await self._deployments.compile(active.version.sync_config)
        except SyncConfigError:  # an earlier release could use it
            return None

    async def _problems(self, text: str) -> list[dict[str, Any]]:
        try:
            return [_problem(problem) for problem in (await self._deployments.compile(text)).warnings]
        except SyncConfigError as exc:
            return [_problem(problem) for problem in exc.problems]


def users_of(fields: dict[str, Any]) -> list[ConnectionData]:
    """The field `users`: ids, or token payloads with a `sub`. Raises RequestInvalid."""
    users = fields.get("users", [])
    if not isinstance(users, list) or len(cast("list[object]", users)) > PREVIEW_USERS_MAX:
        raise RequestInvalid([f"users must be a list of at most {PREVIEW_USERS_MAX} users"])
    return [connection_of(user, "users") for user in cast("list[object]", users)]


def connection_of(user: object, name: str) -> ConnectionData:
    """A user by its id, or by the payload of its token. Raises RequestInvalid, which names the field `name`."""
    if isinstance(user, str) and user:
        return ConnectionData({"sub": user})
    if isinstance(user, dict) and "sub" in user:
        return ConnectionData(cast("dict[str, Any]", user))
    raise RequestInvalid([f"{name} must name a user by its id, or by a token's payload with sub"])


def _evaluated(plans: Sequence[CompiledPlan], tables: Sequence[Sequence[TableRows]]) -> list[EvaluatedConfig]:
    return [evaluated(plan, rows) for plan, rows in zip(plans, tables, strict=True)]


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "level": "error" if problem.severity is Severity.FATAL else "warning",
        "kind": problem.kind.value,
        "message": problem.message,
        "line": problem.line,
        "column": problem.column,
        "source_line": problem.source_line,
        "hint": problem.hint,
    }
