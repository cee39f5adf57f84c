"""The administrators' side of the service put together: deployments, diagnostics, revoked users, reports of connections."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from syncline.api.admin.deployments import Deployments, WantedConfig
from syncline.api.admin.diagnostics import Diagnostics, SourceConnection
from syncline.api.admin.revoking import UserControl
from syncline.api.admin.routes import AdminRoutes
from syncline.api.admin.status import ReplicationState, StatusWriter
from syncline.api.app import Handler
from syncline.api.stream_registry import StreamRegistry
from syncline.auth.api_tokens import ApiTokens
from syncline.auth.revocation import RevocationList
from syncline.replication.inspection import SourceInspector
from syncline.replication.job import DeployedConfig
from syncline.service.config import ServiceConfig
from syncline.service.sync_configs import compile_plan
from syncline.storage.base import StorageControl

__all__ = ["Administration"]


class Administration:
    """Everything behind the admin API. `deployments` is asked first; `begin` before requests are answered.

    `replicate` hears of what is to be replicated, from `begin` on.
    """

    def __init__(
        self,
        config: ServiceConfig,
        control: StorageControl,
        *,
        configured: WantedConfig | None,
        registry: StreamRegistry,
        revocations: RevocationList,
        replicate: Callable[[DeployedConfig | None], None],
    ) -> None:
        self._config = config
        self.control = control
        self.registry = registry
        self.users = UserControl(control, registry, revocations)
        self.diagnostics: Diagnostics | None = None  # from `handlers` on
        self.deployments = Deployments(
            control,
            configured=configured,
            compile_plan=compile_plan,
            replicate=replicate,
            slot_name_prefix=config.slot_name_prefix,
        )

    async def begin(self, closing: contextlib.AsyncExitStack) -> None:
        """Load what is revoked, and follow storage until `closing` is."""
        await self.users.begin()
        closing.push_async_callback(self.users.close)
        for task in (asyncio.create_task(self.users.run()), asyncio.create_task(self.deployments.run())):
            closing.push_async_callback(_cancelled, task)

    def handlers(self, inspector: SourceInspector, replication: ReplicationState) -> dict[tuple[str, str], Handler]:
        """The admin API's routes."""
        source = self._config.settings.replication.connections[0]
        address = self._config.source
        connection = SourceConnection(
            id=source.id,
            tag=source.tag,
            uri=f"postgresql://{address.host}:{address.port}/{address.database}",
            debug_api=source.debug_api,
        )
        diagnostics = self.diagnostics = Diagnostics(
            connection=connection,
            inspector=inspector,
            deployments=self.deployments,
            statuses=StatusWriter(connection_id=source.id, tag=source.tag, replication=replication),
            compile_with=compile_plan,
        )
        return AdminRoutes(
            tokens=ApiTokens(self._config.settings.api.tokens),
            connection=connection,
            inspector=inspector,
            deployments=self.deployments,
            diagnostics=diagnostics,
            users=self.users,
        ).handlers()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
