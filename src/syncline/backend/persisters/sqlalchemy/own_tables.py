"""Our own tables in the app's database: verdicts, devices (to be locked), checkpoints, dead letters."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.schema import CreateTable

from syncline.backend.persisters.sqlalchemy.databases import Database
from syncline.errors import ConfigError

__all__ = ["OwnTables", "make_tables"]


@dataclass(frozen=True, slots=True)
class _Types:
    """Types of one database: `key` compares exactly, `letter_id` sorts by bytes."""

    key: sa.types.TypeEngine[str]
    text: sa.types.TypeEngine[str]
    time: sa.types.TypeEngine[datetime]
    letter_id: sa.types.TypeEngine[str]


class OwnTables:
    """The tables, with types of one database. Column by column they are those of the Postgres persister."""

    def __init__(self, database: Database) -> None:
        types = _Types(database.key_type(), database.text_type(), database.time_type(), database.letter_id_type())
        metadata = sa.MetaData()
        self.uploads = sa.Table(
            "syncline_uploads",
            metadata,
            *_device(types),
            sa.Column("first_crud_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("last_crud_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("content_hash", sa.String(64), nullable=False),
            sa.Column("verdict", types.text, nullable=False),
            sa.Column("created_at", types.time, nullable=False),
            sa.Index("syncline_uploads_created_at", "created_at"),
        )
        self.devices = sa.Table("syncline_devices", metadata, *_device(types))
        self.checkpoints = sa.Table(
            "syncline_checkpoints",
            metadata,
            *_device(types),
            sa.Column("checkpoint", sa.BigInteger, nullable=False),
        )
        self.letters = _letters(metadata, types)
        self.failures = sa.Table(
            "syncline_upload_failures",
            metadata,
            *_device(types),
            sa.Column("content_hash", sa.String(64), primary_key=True),
            sa.Column("failures", sa.Integer, nullable=False),
            sa.Column("last_at", types.time, nullable=False),
        )
        self.write_results = sa.Table(
            "powersync_write_results",
            metadata,
            sa.Column("id", types.letter_id, primary_key=True),
            sa.Column("user_id", types.key, nullable=False),
            sa.Column("client_id", types.key),
            sa.Column("transaction_id", sa.BigInteger),
            sa.Column("operations", types.text, nullable=False),
            *_verdict(types),
            sa.Column("created_at", types.time, nullable=False),
            sa.Column("resolved", sa.Boolean, nullable=False),
            sa.Index("powersync_write_results_user_id", "user_id"),
        )


def _letters(metadata: sa.MetaData, types: _Types) -> sa.Table:
    return sa.Table(
        "syncline_dead_letters",
        metadata,
        sa.Column("id", types.letter_id, primary_key=True),
        sa.Column("created_at", types.time, nullable=False),
        sa.Column("user_id", types.key, nullable=False),
        sa.Column("client_id", types.key),
        sa.Column("content", types.text, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("content_bytes", sa.Integer, nullable=False),
        *_verdict(types),
        sa.Column("details", types.text),
        sa.Column("claims", types.text, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("settled_at", types.time),
        sa.Column("occurrences", sa.Integer, nullable=False),
        sa.Column("last_at", types.time),
        sa.Column("retries", sa.Integer, nullable=False),
        sa.Index("syncline_dead_letters_user_state", "user_id", "state"),
        sa.Index("syncline_dead_letters_state_settled", "state", "settled_at"),
    )


def _device(types: _Types) -> list[sa.Column[Any]]:
    return [sa.Column("user_id", types.key, primary_key=True), sa.Column("client_id", types.key, primary_key=True)]


def _verdict(types: _Types) -> list[sa.Column[Any]]:
    return [
        sa.Column("code", types.text, nullable=False),
        sa.Column("message", types.text, nullable=False),
        sa.Column("operation_index", sa.Integer),
    ]


async def make_tables(engine: AsyncEngine, *tables: sa.Table) -> None:
    """Make the tables that are missing. Raises ConfigError where the role may not, SQLAlchemyError where there is no database."""
    for table in tables:
        async with engine.connect() as connection:
            try:
                if await _is_there(connection, table):
                    continue
                async with connection.begin():
                    await connection.run_sync(table.create)
            except SQLAlchemyError as exc:
                if isinstance(exc, DBAPIError) and exc.connection_invalidated:
                    raise
                with contextlib.suppress(DBAPIError):
                    if await _is_there(connection, table):  # another process was faster
                        continue
                statement = str(CreateTable(table).compile(dialect=connection.dialect))
                raise ConfigError(
                    f"The table {table.name} could not be made, or may not be looked at.",
                    hint=f"Run this as the owner of the database, and grant the backend's user SELECT, INSERT, UPDATE, DELETE:{statement}",
                ) from exc


async def _is_there(connection: AsyncConnection, table: sa.Table) -> bool:
    async with connection.begin():
        return await connection.run_sync(lambda sync: sa.inspect(sync).has_table(table.name))
