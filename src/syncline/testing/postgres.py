"""Databases for tests: one server per run, a template cloned per test."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from syncline.embedded import EmbeddedPostgres

__all__ = ["PostgresServer", "ScratchDatabase"]


@dataclass(frozen=True, slots=True)
class ScratchDatabase:
    """A database that belongs to one test."""

    dsn: str
    name: str

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A new autocommit connection."""
        return psycopg.connect(self.dsn, autocommit=True)

    def execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement (or several without parameters) in a connection of its own; return its rows."""
        with self.connect() as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []


class PostgresServer:
    """The server of a test run: embedded, or the one that the environment's DATABASE_URL names.

    SYNCLINE_POSTGRES_BIN has another Postgres version embedded (`syncline.embedded.binaries`).
    """

    def __init__(self) -> None:
        self._embedded: EmbeddedPostgres | None = None
        self._admin_dsn = os.environ.get("DATABASE_URL", "")

    def __enter__(self) -> PostgresServer:
        if not self._admin_dsn:
            self._embedded = EmbeddedPostgres().start()
            self._admin_dsn = self._embedded.dsn()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._embedded is not None:
            self._embedded.stop()

    def create(self, *, template: ScratchDatabase | None = None) -> ScratchDatabase:
        """A new database, a copy of `template` where one is given (nobody may be connected to it)."""
        name = f"syncline_test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._admin_dsn, autocommit=True) as connection:
            statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            if template is not None:
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template.name))
            connection.execute(statement)
        return ScratchDatabase(self._dsn_of(name), name)

    def drop(self, database: ScratchDatabase) -> None:
        """Drop a database with everything that holds it: walsenders, slots, connections."""
        with psycopg.connect(self._admin_dsn, autocommit=True) as connection:
            slots = connection.execute(
                "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", (database.name,)
            ).fetchall()
            for slot_name, pid in slots:
                if pid is not None:
                    connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
                connection.execute("SELECT pg_drop_replication_slot(%s)", (slot_name,))
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name)))

    def _dsn_of(self, name: str) -> str:
        parts = urlsplit(self._admin_dsn)
        return urlunsplit(parts._replace(path=f"/{name}"))
