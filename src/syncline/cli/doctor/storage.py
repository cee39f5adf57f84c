"""Whether bucket storage can be reached, and which versions it holds."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from syncline.cli.doctor.case import Case
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged
from syncline.errors import SynclineError

if TYPE_CHECKING:
    from syncline.service.config import ServiceConfig
    from syncline.storage.control_model import VersionReport

__all__ = ["storage"]


def storage(case: Case) -> Verdict:
    """Whether storage can hold buckets. The versions in it are read for the checks of slots."""
    from syncline.service.commands.check_connection import storage_findings

    assert case.loaded is not None
    if case.loaded.unset_of_databases:
        return unjudged(f"{', '.join(case.loaded.unset_of_databases)} not set here")
    config = case.loaded.config
    required = [finding for finding in storage_findings(config) if finding.is_required]
    if required:
        fix = required[0].fix or "Look at storage in the configuration: syncline test-connection -c service.yaml"
        return fault(required[0].problem, fix)
    try:
        case.versions = _versions(config)
    except SynclineError as exc:
        return fault(f"[{exc.error_code}] {exc.message}", exc.hint or "Is the disk of the storage healthy?")
    return healthy(*_foreign(case))


def _versions(config: ServiceConfig) -> Sequence[VersionReport]:
    """What storage holds; nothing is made where there is none, or one of another layout."""
    from syncline.service.storage_admin import open_admin

    with contextlib.ExitStack() as closing:
        admin = open_admin(config, closing)
        if admin.stored_layout() != admin.layout:
            return ()

        async def read() -> Sequence[VersionReport]:
            control = admin.open().open_control()
            try:
                return await control.versions()
            finally:
                await control.close()

        return asyncio.run(read())


def _foreign(case: Case) -> list[str]:
    if case.source is None or not case.source.has_powersync_schema:
        return []
    return ["The source has a schema powersync: the storage of another sync service. It is left alone."]
