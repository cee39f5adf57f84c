"""The other side of the comparison: the same rows and changes in a real Postgres, and the same queries there."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from syncline.testing.postgres import ScratchDatabase
from tests.support.sync_config_oracle.cases import Case, Change, Row, SourceValue, User
from tests.support.sync_config_oracle.postgres_sql import visible_rows_sql
from tests.support.sync_config_oracle.postgres_values import quoted
from tests.support.sync_config_oracle.query_tree import Config
from tests.support.sync_config_oracle.schema import Schema, SourceTable
from tests.support.sync_config_oracle.service import VisibleRow

__all__ = ["PostgresSource", "connections_sql"]

VALUES_SQL = Path(__file__).with_name("values.sql")
_SETTINGS = "SET jit = off; SET client_min_messages = warning; SET synchronous_commit = off"


class PostgresSource:
    """One connection to a scratch database that holds the schema of the case at hand."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._schema: Schema | None = None

    @classmethod
    @contextmanager
    def open(cls, database: ScratchDatabase) -> Generator[PostgresSource]:
        """Connect, and create the functions of the oracle."""
        with database.connect() as connection:
            connection.execute(_SETTINGS)
            connection.execute(VALUES_SQL.read_text(encoding="utf-8").encode())
            yield cls(connection)

    @contextmanager
    def case(self, case: Case) -> Generator[None]:
        """The rows of a case, until the end of the block; tables are made anew where the schema is another one."""
        if case.schema != self._schema:
            self._connection.execute(_schema_sql(case.schema).encode())
            self._schema = case.schema
        with self._connection.transaction(force_rollback=True):
            self.apply(Change(table, None, row) for table, rows in case.rows.items() for row in rows)
            yield

    def apply(self, changes: Iterable[Change]) -> None:
        """Make changes, one statement each."""
        statements = "; ".join(_change_sql(change) for change in changes)
        if statements:
            self._connection.execute(statements.encode())

    def visible_rows(self, case: Case) -> list[set[VisibleRow]]:
        """The rows that each user of the case sees."""
        found: list[set[VisibleRow]] = [set() for _ in case.users]
        connections = connections_sql(case.config, case.users)
        if connections:
            statement = visible_rows_sql(case.config, case.schema, connections)
            for number, object_type, object_id, data in self._connection.execute(statement.encode()):
                found[int(number)].add((object_type, object_id, _columns(data)))
        return found


def _columns(data: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, _normal(shown)) for name, shown in data.items()))


def _normal(shown: str) -> str:
    """A real as Python prints it."""
    return f"real {float(shown.removeprefix('real ')) + 0.0!r}" if shown.startswith("real ") else shown


def connections_sql(config: Config, users: Iterable[User]) -> str:
    """A VALUES list of (n, stream, auth, connection, subscription) with one row per subscription; empty where there is none."""
    rows: list[str] = []
    for number, user in enumerate(users):
        for stream in config.streams:
            given = [parameters or {} for name, parameters in user.subscriptions if name == stream.name]
            if stream.auto_subscribe and user.include_defaults:
                given.append({})
            for parameters in given:
                scopes = ", ".join(f"{_json(scope)}::json" for scope in (user.token, user.parameters, parameters))
                rows.append(f"({number}, {quoted(stream.name)}, {scopes})")
    return f"VALUES {', '.join(rows)}" if rows else ""


def _json(value: Any) -> str:
    return quoted(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _schema_sql(schema: Schema) -> str:
    names = sorted({table.schema for table in schema.tables})
    statements = [f"DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}" for name in names]
    for table in schema.tables:
        columns = ", ".join(f'"{column.name}" {column.postgres_type}' for column in table.columns)
        statements.append(f"CREATE UNLOGGED TABLE {table.schema}.{table.name} ({columns}, PRIMARY KEY (id))")
    return "; ".join(statements)


def _change_sql(change: Change) -> str:
    table = f"{change.table.schema}.{change.table.name}"
    if change.after is None:
        assert change.before is not None
        return f"DELETE FROM {table} WHERE id = {_literal(change.before['id'])}"
    if change.before is None:
        return f"INSERT INTO {table} VALUES ({', '.join(_values(change.table, change.after))})"
    columns = ", ".join(f'"{column.name}"' for column in change.table.columns)
    values = ", ".join(_values(change.table, change.after))
    return f"UPDATE {table} SET ({columns}) = ROW({values}) WHERE id = {_literal(change.before['id'])}"


def _values(table: SourceTable, row: Row) -> list[str]:
    return [f"{_literal(row[column.name])}::{column.postgres_type}" for column in table.columns]


def _literal(value: SourceValue) -> str:
    if value is None:
        return "NULL"
    return quoted(value) if isinstance(value, str) else str(value)
