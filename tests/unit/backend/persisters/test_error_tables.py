"""Errors of MySQL and SQLite to codes; what the databases really raise, the contract suite shows."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from syncline.backend.persisters.base import RetryLater, UnknownFailure, WriteRefused
from syncline.backend.persisters.sqlalchemy.databases.base import Database
from syncline.backend.persisters.sqlalchemy.databases.mysql import MySQLDatabase
from syncline.backend.persisters.sqlalchemy.databases.sqlite import SQLiteDatabase

MYSQL = MySQLDatabase(is_prepared=True)


def mysql(number: int, text: str = "a text with 'a value'") -> DBAPIError:
    return DBAPIError("INSERT", None, Exception(number, text))


def code_of(database: Database, exc: DBAPIError) -> str:
    verdict = database.verdict_over(exc, operation_index=4)
    assert "a value" not in str(verdict)
    if isinstance(verdict, WriteRefused):
        assert verdict.operation_index == 4
        return verdict.error_code
    return type(verdict).__name__


@pytest.mark.requirement(148)
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (1048, "NOT_NULL_VIOLATION"),
        (1364, "NOT_NULL_VIOLATION"),
        (1062, "UNIQUE_VIOLATION"),
        (1452, "FOREIGN_KEY_VIOLATION"),
        (1451, "FOREIGN_KEY_VIOLATION"),
        (3819, "CHECK_VIOLATION"),
        (4025, "CHECK_VIOLATION"),
        (1366, "INVALID_DATA"),
        (1406, "INVALID_DATA"),
        (3140, "INVALID_DATA"),
        (1054, "SCHEMA_MISMATCH"),
        (1146, "SCHEMA_MISMATCH"),
        (1142, "UNAUTHORIZED"),
        (1143, "UNAUTHORIZED"),
        (1644, "UNCLASSIFIED_ERROR"),
        (31_001, "UNCLASSIFIED_ERROR"),
        (1815, "UnknownFailure"),
        (1205, "RetryLater"),
        (1213, "RetryLater"),
        (1040, "RetryLater"),
        (1290, "RetryLater"),
        (2006, "RetryLater"),
        (2013, "RetryLater"),
    ],
)
def test_numbers_of_mysql(number: int, code: str) -> None:
    assert code_of(MYSQL, mysql(number)) == code
    assert MYSQL.is_conflict(mysql(number)) is (number == 1213)


def test_a_key_is_named_and_a_value_is_not() -> None:
    duplicate = MYSQL.verdict_over(
        mysql(1062, "Duplicate entry 'a for key 'x' secret' for key 'slug'"), operation_index=0
    )
    assert str(duplicate) == "The database refused the write (1062, slug)."
    foreign = MYSQL.verdict_over(
        mysql(1452, "Cannot add (`db`.`lists`, CONSTRAINT `known_parent` FOREIGN)"), operation_index=0
    )
    assert str(foreign) == "The database refused the write (1452, known_parent)."


def raised(statements: str) -> DBAPIError:
    """What SQLite raises for the last statement."""
    connection = sqlite3.connect(":memory:")
    *before, last = statements.split(";")
    try:
        for statement in before:
            connection.execute(statement)
        with pytest.raises(sqlite3.Error) as caught:
            connection.execute(last)
    finally:
        connection.close()
    kind = OperationalError if isinstance(caught.value, sqlite3.OperationalError) else DBAPIError
    return kind("INSERT", None, caught.value)


T = "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT NOT NULL UNIQUE, p REFERENCES t (id), c CHECK (c < 6))"


@pytest.mark.requirement(148)
@pytest.mark.parametrize(
    ("statements", "code"),
    [
        (f"{T}; INSERT INTO t (id) VALUES (1)", "NOT_NULL_VIOLATION"),
        (f"{T}; INSERT INTO t (n) VALUES ('a value'); INSERT INTO t (n) VALUES ('a value')", "UNIQUE_VIOLATION"),
        (f"{T}; INSERT INTO t (id, n) VALUES (1, ''); INSERT INTO t (id, n) VALUES (1, 'x')", "UNIQUE_VIOLATION"),
        (f"PRAGMA foreign_keys = ON; {T}; INSERT INTO t (n, p) VALUES ('', 7)", "FOREIGN_KEY_VIOLATION"),
        (f"{T}; INSERT INTO t (n, c) VALUES ('', 7)", "CHECK_VIOLATION"),
        (f"{T}; INSERT INTO t (id, n) VALUES ('a value', '')", "INVALID_DATA"),
        ("CREATE TABLE s (n INTEGER) STRICT; INSERT INTO s VALUES ('a value')", "INVALID_DATA"),
        ("INSERT INTO missing VALUES (1)", "SCHEMA_MISMATCH"),
        (f"{T}; INSERT INTO t (missing) VALUES (1)", "SCHEMA_MISMATCH"),
        ("SELECT raise_alarm()", "UnknownFailure"),
    ],
)
def test_errors_of_sqlite(statements: str, code: str) -> None:
    assert code_of(SQLiteDatabase(), raised(statements)) == code


def test_what_a_trigger_of_sqlite_raises_is_refused_and_not_repeated() -> None:
    trigger = "CREATE TABLE t (n); CREATE TRIGGER r BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'a value')"
    connection = sqlite3.connect(":memory:")
    connection.executescript(f"{trigger}; END;")
    with pytest.raises(sqlite3.IntegrityError) as caught:
        connection.execute("INSERT INTO t VALUES (1)")
    connection.close()
    assert code_of(SQLiteDatabase(), DBAPIError("INSERT", None, caught.value)) == "CONSTRAINT_VIOLATION"


@pytest.mark.parametrize("name", ["SQLITE_BUSY", "SQLITE_IOERR_WRITE", "SQLITE_FULL", "SQLITE_READONLY"])
def test_what_passes_on_sqlite(name: str) -> None:
    error = sqlite3.OperationalError("no")
    error.sqlite_errorname = name
    verdict = SQLiteDatabase().verdict_over(OperationalError("INSERT", None, error), operation_index=0)
    assert type(verdict) is RetryLater


@pytest.mark.parametrize("database", [MYSQL, SQLiteDatabase(), Database()])
def test_a_pool_without_a_free_connection_and_a_lost_one_pass(database: Database) -> None:
    lost: Any = InterfaceError("SELECT", None, Exception("gone"), connection_invalidated=True)
    for exc in (NoConnection("no connection"), lost):
        assert type(database.verdict_over(exc, operation_index=None)) is RetryLater


def test_an_error_of_no_class_is_counted() -> None:
    assert isinstance(MYSQL.verdict_over(mysql(1815), operation_index=0), UnknownFailure)
