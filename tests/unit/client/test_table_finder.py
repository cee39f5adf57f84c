"""Which tables a statement reads, asked once."""

from __future__ import annotations

import apsw
import pytest

from syncline.client import table_finder
from syncline.client.table_finder import TableFinder
from syncline.errors import ClientError


@pytest.fixture
def connection() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE a(x); CREATE TABLE b(x); CREATE VIEW shown AS SELECT x FROM a").fetchall()
    return connection


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that SQLite was asked about."""
    statements: list[str] = []
    ask = TableFinder._ask

    def count(self: TableFinder, connection: apsw.Connection, sql: str) -> frozenset[str]:
        statements.append(sql)
        return ask(self, connection, sql)

    monkeypatch.setattr(TableFinder, "_ask", count)
    return statements


def test_a_statement_is_asked_for_once_per_version_of_the_schema(connection: apsw.Connection, asked: list[str]) -> None:
    finder = TableFinder()
    for _ in range(3):
        assert finder.tables(connection, "SELECT * FROM shown") == {"a"}
    assert len(asked) == 1
    connection.execute("DROP VIEW shown; CREATE VIEW shown AS SELECT x FROM b").fetchall()
    assert finder.tables(connection, "SELECT * FROM shown") == {"b"}
    assert len(asked) == 2


def test_the_number_of_remembered_statements_is_bounded(
    connection: apsw.Connection, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_finder, "QUERIES_CACHED_MAX", 3)
    finder = TableFinder()
    for number in range(10):
        assert finder.tables(connection, f"SELECT {number} FROM a") == {"a"}
        assert len(finder._found) <= 3
    assert len(asked) == 10


def test_wrong_statements_and_those_that_write_are_refused(connection: apsw.Connection) -> None:
    with pytest.raises(ClientError, match="writes"):
        TableFinder().tables(connection, "DELETE FROM a")
    with pytest.raises(apsw.SQLError):
        TableFinder().tables(connection, "SELECT * FROM nothing")
