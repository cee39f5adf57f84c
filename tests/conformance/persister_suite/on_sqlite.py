"""SQLite, for the suite."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL

from syncline.backend.persisters.base import Persister
from syncline.backend.persisters.sqlalchemy import SQLitePersister
from tests.conformance.persister_suite.subject import Lacking, Subject, TypeCase
from tests.conformance.persister_suite.tables import table_statements

__all__ = ["SQLiteSubject"]

NAMES = {
    "key": "text",
    "text": "text",
    "uuid": "char(36)",
    "time": "datetime",
    "plain_time": "datetime",
    "flag": "boolean",
    "true": "1",
    "false": "0",
    "number": "numeric",
    "real": "double precision",
    "json": "json",
    "list": "json",
    "blob": "blob",
    "odd_table": '"odd ""name"" 100%"',
    "odd_column": '"a ""b"" 5%s"',
    "parents": '"app lists 100%"',
}
MORE = (
    """CREATE TABLE types (
      id text PRIMARY KEY, txt text, flag boolean, i2 smallint, i8 bigint, f8 double precision, num numeric, js json, doc blob,
      at timestamp, day date, anything, named text COLLATE NOCASE, doubled bigint GENERATED ALWAYS AS (i8 * 2) STORED)""",
    "CREATE TRIGGER note_new AFTER INSERT ON lists BEGIN INSERT INTO effects VALUES (NEW.id); END",
    "CREATE TRIGGER note_changed AFTER UPDATE ON lists BEGIN INSERT INTO effects VALUES (NEW.id); END",
)
STORED, AT = "2023-11-14 22:13:20.500000", "2023-11-14T22:13:20.500000"
TYPES = (
    TypeCase("txt", "ünï\n\\x", "ünï\n\\x", "ünï\n\\x"),
    TypeCase("txt", 5, "5", "5"),
    TypeCase("flag", 1, 1, 1),
    TypeCase("flag", "true", 1, 1),
    TypeCase("flag", False, 0, 0),
    TypeCase("i2", 7.0, 7, 7),
    TypeCase("i8", 2**53 + 1, 2**53 + 1, 2**53 + 1),
    TypeCase("i8", "9007199254740993", 2**53 + 1, 2**53 + 1),
    TypeCase("f8", 1.5e300, 1.5e300, 1.5e300),
    TypeCase("num", "1.10", 1.1, "1.1"),  # SQLite has no decimal numbers
    TypeCase("num", "7", 7, "7"),
    TypeCase("js", '{"a": [1, null]}', '{"a": [1, null]}', '{"a": [1, null]}'),
    TypeCase("js", {"a": 1}, '{"a": 1}', '{"a": 1}'),
    TypeCase("doc", "AP90ZXh0", b"\x00\xfftext", "AP90ZXh0"),
    TypeCase("at", "2023-11-14 22:13:20.500Z", STORED, AT),
    TypeCase("at", "2023-11-14T23:13:20.5+01:00", STORED, AT),
    TypeCase("at", 1_700_000_000.5, STORED, AT),
    TypeCase("at", 1_700_000_000_500, STORED, AT),
    TypeCase("day", "2026-01-02", "2026-01-02", "2026-01-02"),
    TypeCase("anything", 5, 5, 5),
    TypeCase("anything", "five", "five", "five"),
    TypeCase("named", "Ann", "Ann", "Ann"),
)
INVALID = (
    *(
        ("flag", 2),
        ("flag", "maybe"),
        ("i2", "many"),
        ("i8", "1.5"),
        ("i8", 2**63),
        ("anything", 2**64),
        ("f8", "much"),
    ),
    *(("num", "1,5"), ("js", "not json"), ("doc", "not base64!"), ("at", "soon"), ("at", True), ("day", "2026-02-30")),
)
SHOWN: dict[str, Any] = {
    "title": "é%",
    "version": 2**53 + 1,
    "modified_at": "2026-01-02T10:00:00.123456",
    "quantity": "1.5",
    "tags": '["a", "b"]',
    "settings": '{"k": 1}',
    "done": 1,
    "ratio": 0.5,
    "local_time": "2026-01-02T10:00:00.000000",
    "payload": "AAEC" * 30,
}


class SQLiteSubject(Subject):
    """A file."""

    def __init__(self, path: Path) -> None:
        lacks = frozenset({Lacking.NETWORK, Lacking.CONFLICTS, Lacking.PRIVILEGES})
        url = URL.create("sqlite+aiosqlite", database=str(path))
        super().__init__(url, NAMES, lacks=lacks, types=TYPES, invalid=INVALID, shown=SHOWN)
        self._path = path
        with contextlib.closing(sqlite3.connect(path)) as connection:
            for statement in (*table_statements(NAMES), *MORE):
                connection.execute(statement)

    def persister(self, url: URL | None = None, **options: Any) -> Persister:
        """By path."""
        return SQLitePersister(self._path if url is None else Path(str(url.database)), **options)
