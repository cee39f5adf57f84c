"""Which sync config is wanted: that of the service's configuration, else the newest that was deployed through the API.

The wanted config and what is replicated may differ for a while: a config that cannot be used leaves the version that serves in place.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from syncline.errors import SyncConfigError, SynclineError
from syncline.replication.job import DeployedConfig
from syncline.storage.base import StorageControl
from syncline.storage.control_model import Deployment, VersionReport
from syncline.storage.model import Version, VersionState
from syncline.sync_config import CompiledPlan

__all__ = [
    "Deployments",
    "DeploymentsDisabled",
    "NothingActive",
    "Standing",
    "StillDeploying",
    "WantedConfig",
]

log = logging.getLogger(__name__)

PLANS_KEPT = 4  # compiled configs: the active one, the next one, and what is being tried
FOLLOW_INTERVAL_S = 1.0  # seconds after which storage is looked at for what another process deployed


class NothingActive(SynclineError):
    """No version is active."""

    code = "PSYNC_S4104"
    status = 422


class DeploymentsDisabled(SynclineError):
    """The service's configuration names the sync config: it cannot be deployed through the API."""

    code = "PSYNC_S4105"
    status = 422


class StillDeploying(SynclineError):
    """A version is being copied already."""

    code = "PSYNC_S4106"
    status = 409


@dataclass(frozen=True, slots=True)
class WantedConfig:
    """A sync config that is to be replicated. `number`: see `DeployedConfig`. `error` says why it cannot be; `plan` is None then."""

    text: str
    number: int = 0
    plan: CompiledPlan | None = None
    error: str = ""

    def is_met_by(self, version: Version) -> bool:
        """Whether a version is one of this config."""
        return (
            version.state is not VersionState.STOPPED
            and version.sync_config == self.text
            and version.number >= self.number
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """How deployed configs stand: the version that serves, and the one that is to replace it, if only as a wish so far."""

    active: VersionReport | None = None
    processing: VersionReport | None = None
    wish: WantedConfig | None = None  # wanted, and no version of it has been made

    @property
    def is_deploying(self) -> bool:
        """Whether something is to replace what is active."""
        return self.processing is not None or self.wish is not None


class Deployments:
    """Deploys, and follows what was deployed.

    `configured` is the config that the service's configuration names, None where it names none. `compile_plan` raises
    SyncConfigError. `replicate` is called with what is to be replicated whenever that changes, None for nothing.
    """

    def __init__(
        self,
        control: StorageControl,
        *,
        configured: WantedConfig | None,
        compile_plan: Callable[[str], CompiledPlan],
        replicate: Callable[[DeployedConfig | None], None],
        slot_name_prefix: str,
    ) -> None:
        self._control = control
        self._configured = configured
        self._compile_plan = compile_plan
        self._replicate = replicate
        self._slot_name_prefix = slot_name_prefix
        self._wake = asyncio.Event()
        self._seen: list[int] = []  # numbers of the deployments that were acted upon
        self._followed: tuple[str, int] | None = None  # text and number of what is replicated
        self._compiled: dict[str, CompiledPlan] = {}  # of the texts that were compiled last

    async def begin(self) -> DeployedConfig | None:
        """What is to be replicated now; changes from here on are told to `replicate`, by `run`."""
        self._seen = [deployment.number for deployment in await self._control.deployments()]
        config = await self._effective()
        self._followed = _key(config)
        return config

    async def run(self) -> None:
        """Follow what is deployed, here or by another process, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(FOLLOW_INTERVAL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._follow()
            except SynclineError as exc:
                log.warning("What is deployed cannot be read: %s", exc, extra={"event": "admin.follow_error"})
            except Exception:
                log.exception("Following deployments failed", extra={"event": "admin.follow_crash"})

    @property
    def may_deploy(self) -> bool:
        """Whether configs are deployed through the API: the service's configuration names none."""
        return self._configured is None

    def look(self) -> None:
        """Another process has deployed something: `run` looks at once. Call from its event loop."""
        self._wake.set()

    async def deploy(self, text: str) -> str:
        """Deploy a sync config; the name of its replication slot.

        Raises DeploymentsDisabled, and SyncConfigError with all problems where it cannot be used.
        """
        if self._configured is not None:
            raise DeploymentsDisabled(
                "The sync config cannot be deployed through the API.",
                details="The configuration of the service names one: change it there.",
            )
        await self.compile(text)
        return self._slot_name((await self._remember(text)).number)

    async def reprocess(self) -> str:
        """Copy everything again for the config that is active; the name of the new slot. Raises NothingActive, StillDeploying."""
        standing = await self.standing()
        if standing.active is None:
            raise NothingActive("No sync config is active.")
        if standing.is_deploying:
            raise StillDeploying("Another sync config is being deployed; reprocess when it is active.")
        text = None if self._configured is not None else standing.active.version.sync_config
        return self._slot_name((await self._remember(text)).number)

    async def compile(self, text: str) -> CompiledPlan:
        """Compile a config beside the event loop's work. Raises SyncConfigError."""
        plan = self._compiled.get(text)
        if plan is None:
            plan = await asyncio.to_thread(self._compile_plan, text)
            self._compiled = dict([*self._compiled.items()][-PLANS_KEPT + 1 :]) | {text: plan}
        return plan

    async def standing(self) -> Standing:
        """How deployed configs stand."""
        versions = await self._control.versions()
        wanted = await self._wanted(versions)
        active = _newest(versions, VersionState.ACTIVE)
        processing = _newest(versions, VersionState.PROCESSING)
        if wanted is None or any(wanted.is_met_by(report.version) for report in versions):
            return Standing(active, processing)
        # A version that is still being copied for an older wish is about to be dropped.
        return Standing(active, None, wanted)

    def slot_name_of(self, wish: WantedConfig) -> str:
        """The slot that a wish will have; empty where that is not decided yet."""
        return self._slot_name(wish.number) if wish.number else ""

    async def _remember(self, text: str | None) -> Deployment:
        bits = random.getrandbits(10)
        deployment = await self._control.deploy(text, now_ms=time.time_ns() // 1_000_000, random_bits=bits)
        log.info(
            "A sync config was deployed as version %d" if text is not None else "Version %d was asked for",
            deployment.number,
            extra={"event": "admin.deployed", "version": deployment.number},
        )
        self._wake.set()
        return deployment

    async def _wanted(self, versions: Sequence[VersionReport]) -> WantedConfig | None:
        deployments = await self._control.deployments()
        if self._configured is not None:
            again = [deployment.number for deployment in deployments if deployment.sync_config is None]
            configured = self._configured
            return WantedConfig(configured.text, max(again, default=0), configured.plan, configured.error)
        texts = [(found.sync_config, found.number) for found in deployments if found.sync_config is not None]
        if not texts:
            # Of a time when the service's configuration named one.
            active = _newest(versions, VersionState.ACTIVE) or _newest(versions, VersionState.PROCESSING)
            texts = [(active.version.sync_config, 0)] if active is not None else []
        if not texts:
            return None
        text, number = texts[-1]
        try:
            return WantedConfig(text, number, await self.compile(text))
        except SyncConfigError as exc:  # a release before this one could use it
            return WantedConfig(text, number, None, str(exc))

    async def _effective(self) -> DeployedConfig | None:
        """The wanted config, or that of the version that serves where the wanted one cannot be used."""
        versions = await self._control.versions()
        wanted = await self._wanted(versions)
        if wanted is not None and wanted.plan is not None:
            return DeployedConfig(wanted.text, wanted.plan, wanted.number)
        active = _newest(versions, VersionState.ACTIVE)
        if active is None:
            return None
        text = active.version.sync_config
        return DeployedConfig(text, await self.compile(text))

    async def _follow(self) -> None:
        seen = [deployment.number for deployment in await self._control.deployments()]
        if seen == self._seen:
            return
        config = await self._effective()
        self._seen = seen
        if _key(config) != self._followed:
            self._followed = _key(config)
            self._replicate(config)

    def _slot_name(self, number: int) -> str:
        return f"{self._slot_name_prefix}{number}"


def _key(config: DeployedConfig | None) -> tuple[str, int] | None:
    return (config.text, config.number) if config is not None else None


def _newest(versions: Sequence[VersionReport], state: VersionState) -> VersionReport | None:
    return next((report for report in reversed(versions) if report.version.state is state), None)
