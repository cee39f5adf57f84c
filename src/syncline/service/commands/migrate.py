"""`syncline migrate up|down`: bring bucket storage to this release's layout, or back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from syncline.service.config import ServiceConfig
from syncline.service.exit_codes import CommandInvalid
from syncline.service.storage_admin import check_down, open_admin

__all__ = ["check_direction", "migrate"]

DIRECTIONS = ("up", "down")


def check_direction(direction: str, to: int | None) -> None:
    """Raise CommandInvalid for a word that is no direction, before anything else happens."""
    if direction not in DIRECTIONS:
        raise CommandInvalid(
            f"There is no direction {direction!r}.", hint="Write: syncline migrate up, or syncline migrate down"
        )
    if to is not None and direction == "up":
        raise CommandInvalid("--to belongs to `migrate down`: up leads to the layout of this release.")


def migrate(config: ServiceConfig, direction: str, *, to: int | None, tell: Callable[[str], None]) -> None:
    """Down leads to layout `to`, or removes all of the storage: it is made again from the source.

    Raises StorageUnavailable where storage cannot be reached, or (PSYNC_S1003) a service uses it.
    """
    with contextlib.ExitStack() as closing:
        admin = open_admin(config, closing)
        stored = admin.stored_layout()
        if direction == "up":
            if stored == admin.layout:
                tell(f"{admin.name} has layout {stored} already.")
                return
            admin.migrate_up()
            tell(f"{admin.name} went from layout {stored} to {admin.layout}." if stored else f"{admin.name} was made.")
            return
        target = to or 0
        check_down(admin, target)
        admin.migrate_down(target)
        if target:
            tell(f"{admin.name} went from layout {stored} back to {target}, for an older release.")
        else:
            tell(f"{admin.name} was removed. The next start copies everything from the source again.")
