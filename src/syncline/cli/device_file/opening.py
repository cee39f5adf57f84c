"""Opening a client's file for a look, or for a change that no syncing process may be in the middle of."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import apsw
import typer

from syncline.cli.exit_codes import CommandFailed
from syncline.client.encryption import EncryptionKey, FileUnreadable
from syncline.client.local.connection import open_reader, open_writer
from syncline.client.sync_role import RoleLock

__all__ = ["FILE", "KEY", "file_errors_told", "key_of", "reading", "role_held", "writer_of"]

FILE: Path = typer.Argument(help="The database file of a device.")
KEY: str = typer.Option(
    "",
    "--key",
    envvar="SYNCLINE_FILE_KEY",
    show_default=False,
    show_envvar=True,
    help="Passphrase of an encrypted file.",
)


@contextmanager
def reading(path: Path, key: str) -> Generator[apsw.Connection]:
    """A connection that cannot write, in one read transaction. Raises CommandFailed where it is no file of a client."""
    _check_exists(path)
    with file_errors_told(path):
        connection = open_reader(path, key=key_of(key))
        try:
            connection.execute("BEGIN").fetchall()
            _check_tables(connection, path)
            yield connection
        finally:
            connection.close(True)


@contextmanager
def role_held(path: Path, *, force: bool) -> Generator[None]:
    """Hold the sync role of the file meanwhile: no process of ours syncs it. With `force` nobody is asked.

    Raises CommandFailed where another process has the role. Official SDKs do not know of it, and cannot be seen.
    """
    if force:
        yield
        return
    lock = RoleLock(str(path))
    with file_errors_told(path):
        is_ours = lock.take()
    if not is_ours:
        raise CommandFailed(
            f"Another process syncs {path}: what is changed may be under way to the backend.",
            hint="Close the app first, or add --force.",
        )
    try:
        yield
    finally:
        lock.release()


def writer_of(path: Path, key: str) -> apsw.Connection:
    """The connection for a change. The file must be there. Raises CommandFailed, apsw.Error."""
    _check_exists(path)
    connection = open_writer(path, key=key_of(key))
    try:
        _check_tables(connection, path)
    except BaseException:
        connection.close(True)
        raise
    return connection


@contextmanager
def file_errors_told(path: Path) -> Generator[None]:
    """Turn errors of SQLite into CommandFailed with what to do."""
    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as exc:
        raise CommandFailed(f"{path} is locked by another program.", hint="Close it, and try again.") from exc
    except (apsw.CantOpenError, apsw.ReadOnlyError) as exc:
        raise CommandFailed(
            f"{path} cannot be opened: SQLite needs files beside it.",
            hint="Copy it into a folder that you may write to.",
        ) from exc
    except FileUnreadable as exc:
        raise CommandFailed(
            f"{path} is no database, or it is encrypted, with another key than the one given.",
            hint="Its passphrase is given with --key, or in the variable SYNCLINE_FILE_KEY.",
        ) from exc
    except (apsw.CorruptError, apsw.NotADBError) as exc:
        raise CommandFailed(f"{path} is damaged: {exc}") from exc


def key_of(text: str) -> EncryptionKey | None:
    """The key of an option; none for an empty text."""
    return EncryptionKey(text) if text else None


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise CommandFailed(f"There is no file {path}.")


def _check_tables(connection: apsw.Connection, path: Path) -> None:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE name IN ('ps_crud', 'ps_kv', 'ps_oplog')"
    ).fetchall()
    if len(rows) < 3:
        raise CommandFailed(f"{path} is no database of a sync client: it has no table ps_crud, ps_kv or ps_oplog.")
