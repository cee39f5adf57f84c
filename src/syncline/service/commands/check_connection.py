"""`syncline test-connection`: can the source be replicated, and can storage hold buckets? Prints settings, problems, and what to do.

Changes nothing: no slot, no table, no folder is made, and a running service is not disturbed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from syncline import __version__
from syncline.errors import SynclineError
from syncline.replication.postgres.checks import missing_setup
from syncline.replication.postgres.connection import Row, connect, source_errors
from syncline.replication.postgres.source import PUBLICATION
from syncline.service.config import ServiceConfig
from syncline.service.conninfo import conninfo
from syncline.service.exit_codes import EXIT_FAILED, EXIT_OK
from syncline.service.storage_admin import open_admin
from syncline.storage.postgres.connection import connect as connect_storage

__all__ = ["Finding", "check_connection", "connection_findings", "storage_findings"]

_SETTINGS = ("wal_level", "max_replication_slots", "max_wal_senders", "max_slot_wal_keep_size")
_TABLES = "SELECT count(*) FROM pg_publication_tables WHERE pubname = %s"
_MAY_CREATE = """
SELECT has_database_privilege(current_database(), 'CREATE') OR EXISTS (SELECT FROM pg_namespace n
        WHERE n.nspname = %s AND has_schema_privilege(n.oid, 'CREATE')), quote_ident(current_database()), quote_ident(current_user)
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and what to do about it. `is_required`: nothing goes before it is done."""

    problem: str
    fix: str
    is_required: bool


def check_connection(config: ServiceConfig, tell: Callable[[str], None]) -> int:
    """0 where replication can begin, 1 where something is in its way."""
    problems = sum(finding.is_required for finding in _look(config, tell))
    tell("All is well." if problems == 0 else f"{problems} of these are in the way.")
    return EXIT_OK if problems == 0 else EXIT_FAILED


def connection_findings(config: ServiceConfig) -> list[Finding]:
    """What is not as it should be with the source and the storage; nothing is printed."""
    return _look(config, lambda _line: None)


def storage_findings(config: ServiceConfig) -> list[Finding]:
    """The same of the storage alone."""
    with contextlib.ExitStack() as closing:
        report = _Report(lambda _line: None)
        _storage(config, closing, report)
    return report.findings


def _look(config: ServiceConfig, tell: Callable[[str], None]) -> list[Finding]:
    with contextlib.ExitStack() as closing:
        report = _Report(tell)
        report.section(f"Source  {config.source.masked}  sslmode {config.source.sslmode}")
        report.attempt(lambda: asyncio.run(_source(config, conninfo(config.source, closing), report)))
        _storage(config, closing, report)
    return report.findings


class _Report:
    """Prints lines, and keeps what is not as it should be."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self.findings: list[Finding] = []

    def section(self, text: str) -> None:
        self._tell(text)

    def fine(self, text: str) -> None:
        self._tell(f"  ok    {text}")

    def problem(self, text: str, fix: str, *, required: bool = True) -> None:
        self.findings.append(Finding(text, fix, required))
        self._tell(f"  {'fix ' if required else 'hint'}  {text}")
        for line in fix.splitlines():
            self._tell(f"        {line}")

    def attempt(self, action: Callable[[], None]) -> None:
        try:
            action()
        except SynclineError as exc:
            self.problem(f"[{exc.error_code}] {exc.message}", exc.hint)


async def _source(config: ServiceConfig, connection_string: str, report: _Report) -> None:
    name = f"syncline/{__version__} test"
    connection = await connect(connection_string, application_name=name)
    try:
        with source_errors():
            await _source_settings(connection, report)
            steps = await missing_setup(connection, PUBLICATION, slot_name_prefix=config.slot_name_prefix)
            for step in steps:
                restart = "\n-- then restart the server" if step.needs_restart else ""
                fix = "\n".join(step.statements) + restart
                report.problem(f"[{step.code}] {step.problem}", fix, required=step.is_required)
    finally:
        await connection.close()
    if not any(step.is_required for step in steps):
        stream = await connect(connection_string, application_name=name, replication=True)
        await stream.close()
        report.fine("a replication connection is let in")


async def _source_settings(connection: psycopg.AsyncConnection[Row], report: _Report) -> None:
    info = connection.info
    cipher = await (await connection.execute("SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()")).fetchone()
    report.fine(f"connected as {info.user}, {f'TLS with {cipher[0]}' if cipher and cipher[0] else 'without TLS'}")
    version = await (await connection.execute("SHOW server_version")).fetchone()
    values: list[str] = [f"Postgres {version[0] if version else 'of an unknown version'}"]
    for setting in _SETTINGS:
        row = await (await connection.execute("SELECT current_setting(%s)", (setting,))).fetchone()
        values.append(f"{setting} {row[0] if row else 'unknown'}")
    report.fine(", ".join(values))
    row = await (await connection.execute(_TABLES, (PUBLICATION,))).fetchone()
    if row and row[0]:
        report.fine(f"publication {PUBLICATION} with {row[0]} tables")


def _storage(config: ServiceConfig, closing: contextlib.ExitStack, report: _Report) -> None:
    postgres = config.storage_postgres
    if postgres is None:
        report.section(f"Storage  SQLite in {config.storage_path}")
        report.attempt(lambda: _sqlite(config, closing, report))
        return
    report.section(
        f"Storage  schema {postgres.schema} of {postgres.address.masked}  sslmode {postgres.address.sslmode}"
    )
    report.attempt(lambda: _postgres(config, closing, report))


def _sqlite(config: ServiceConfig, closing: contextlib.ExitStack, report: _Report) -> None:
    folder = config.storage_path
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        report.problem(f"{there} cannot be written", "Set storage.path to a folder that this user may write.")
        return
    report.fine(f"{_shown(there, folder)} is writable")
    _layout(config, closing, report)


def _shown(there: Path, folder: Path) -> str:
    return "the folder" if there == folder else f"the folder will be made; {there}"


def _postgres(config: ServiceConfig, closing: contextlib.ExitStack, report: _Report) -> None:
    postgres = config.storage_postgres
    assert postgres is not None
    string = conninfo(postgres.address, closing)
    with contextlib.closing(connect_storage(string, application_name=f"syncline/{__version__} test")) as connection:
        report.fine(f"connected as {connection.info.user}, Postgres {connection.info.server_version // 10000}")
        row = connection.execute(_MAY_CREATE, (postgres.schema,)).fetchone()
        assert row is not None
        if not row[0]:
            report.problem(
                f"the role may not make the schema {postgres.schema}", f"GRANT CREATE ON DATABASE {row[1]} TO {row[2]};"
            )
    _layout(config, closing, report)


def _layout(config: ServiceConfig, closing: contextlib.ExitStack, report: _Report) -> None:
    admin = open_admin(config, closing)
    stored = admin.stored_layout()
    if stored > admin.layout:
        report.problem(
            f"[PSYNC_S1005] layout {stored} is of a newer Syncline, this one knows {admin.layout}", "Use that release."
        )
    elif stored == 0:
        report.fine("nothing is stored yet")
    else:
        report.fine(
            f"layout {stored}" + ("" if stored == admin.layout else f", which the next start brings to {admin.layout}")
        )
