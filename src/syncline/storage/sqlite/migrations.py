"""Layouts of the storage's files, and the way between them, up and down.

Each file knows its layout (`schema_version`). Opening brings it to `LAYOUT`, in one transaction; a new file takes the same way from
nothing. `migrate` leads back for a return to an older release. What a layout holds: docs/internals/storage-schema.md.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import apsw

from syncline.errors import StorageVersionUnsupported
from syncline.storage.sqlite.connection import open_connection, write_transaction
from syncline.storage.sqlite.lease import locked

__all__ = ["LAYOUT", "ensure_layout", "migrate"]

LAYOUT = 3
_FIRST_LAYOUT = 1
_META_TABLES = {"storage": "storage_meta", "control": "control_meta"}


def ensure_layout(connection: apsw.Connection, path: Path) -> None:
    """Bring `storage.db` or `control.db` up to `LAYOUT`. Raises StorageVersionUnsupported where a newer release wrote it."""
    with write_transaction(connection):
        found = _layout(connection, path)
        if found > LAYOUT:
            raise StorageVersionUnsupported(
                f"The storage file {path} has layout version {found}, this Syncline knows {LAYOUT}.",
                hint="Use the Syncline version that wrote it, let that version migrate the storage down, or delete the storage"
                " files: they are rebuilt from the source.",
            )
        _move(connection, path, found, LAYOUT)


def migrate(directory: Path, *, to: int) -> None:
    """Bring both files of a storage to layout `to`, up or down, for a return to an older release.

    The service must be stopped: raises StorageUnavailable (PSYNC_S1003) while a replicator runs. Raises ValueError for a layout that
    this release does not know, StorageVersionUnsupported for a file of a newer release.
    """
    if not _FIRST_LAYOUT <= to <= LAYOUT:
        raise ValueError(f"layouts {_FIRST_LAYOUT} to {LAYOUT} are known, not {to}")
    with locked(directory / "storage.lock"):
        for name in _META_TABLES:
            path = directory / f"{name}.db"
            connection = open_connection(path)
            try:
                ensure_layout(connection, path)
                with write_transaction(connection):
                    _move(connection, path, LAYOUT, to)
            finally:
                connection.close()


def _layout(connection: apsw.Connection, path: Path) -> int:
    """The file's layout, 0 for a new file."""
    meta_table = _META_TABLES[path.stem]
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (meta_table,)).fetchall():
        return 0
    return connection.execute(f"SELECT value FROM {meta_table} WHERE key = 'schema_version'").get  # noqa: S608 - our own names


def _move(connection: apsw.Connection, path: Path, found: int, to: int) -> None:
    steps = [(layout, "up") for layout in range(found + 1, to + 1)]
    steps += [(layout, "down") for layout in range(found, to, -1)]
    scripts = resources.files("syncline.storage.sqlite").joinpath("sql", "migrations")
    for layout, way in steps:
        connection.execute(scripts.joinpath(f"{path.stem}_{layout}_{way}.sql").read_text("utf-8")).fetchall()
    if steps:
        sql = f"UPDATE {_META_TABLES[path.stem]} SET value = ? WHERE key = 'schema_version'"  # noqa: S608 - our own names
        connection.execute(sql, (to,)).fetchall()
