"""Rows of the table `version`, as writer and reader both read them."""

from __future__ import annotations

from typing import Any

from syncline.storage.model import Version, VersionState

__all__ = ["VERSION_COLUMNS", "version_from_row"]

VERSION_COLUMNS = "number, state, sync_config, slot_name, source_identity, snapshot_done, consistent_from"


def version_from_row(row: tuple[Any, ...]) -> Version:
    """A version from its `VERSION_COLUMNS`."""
    return Version(
        number=row[0],
        state=VersionState(row[1]),
        sync_config=row[2],
        slot_name=row[3],
        source_identity=row[4],
        snapshot_done=bool(row[5]),
        consistent_from=row[6],
    )
