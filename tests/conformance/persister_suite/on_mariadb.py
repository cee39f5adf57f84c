"""MariaDB and MySQL, for the suite."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.engine import URL

from syncline.backend.persisters.base import Persister
from syncline.backend.persisters.sqlalchemy import MySQLPersister
from tests.conformance.persister_suite.subject import Observer, Subject, TypeCase
from tests.conformance.persister_suite.tables import table_statements
from tests.support.mariadb import MariaDBServer, run_statements

__all__ = ["MariaDBSubject"]

NAMES = {
    "key": "varchar(64)",
    "text": "varchar(500)",
    "uuid": "char(36)",
    "time": "timestamp(6) NULL DEFAULT NULL",
    "plain_time": "datetime(6)",
    "flag": "boolean",
    "true": "true",
    "false": "false",
    "number": "decimal(20, 2)",
    "real": "double",
    "json": "json",
    "list": "json",
    "blob": "blob",
    "odd_table": '`odd "name" 100%`',
    "odd_column": '`a "b" 5%s`',
    "parents": "`app lists 100%`",
}
MORE = (
    """CREATE TABLE types (
      id char(36) PRIMARY KEY, txt varchar(200), flag boolean, bits bit(1), i2 smallint, i8 bigint, u8 bigint unsigned, f8 double,
      num decimal(20, 2), short varchar(3), long_text longtext, js json, doc blob, ident binary(16), at timestamp(6) NULL DEFAULT NULL,
      local_at datetime(6), day date, clock time, feeling enum('sad', 'fine'), born year,
      doubled bigint GENERATED ALWAYS AS (i8 * 2) STORED)""",
    "CREATE TRIGGER note_new AFTER INSERT ON lists FOR EACH ROW INSERT INTO effects VALUES (NEW.id)",
    "CREATE TRIGGER note_changed AFTER UPDATE ON lists FOR EACH ROW INSERT INTO effects VALUES (NEW.id)",
)
INSTANT = datetime(2023, 11, 14, 22, 13, 20, 500_000)
AT, LOCAL = "2023-11-14T22:13:20.500000Z", "2023-11-14T22:13:20.500000"
UUID = uuid.UUID("6c1b3c9e-0000-4000-8000-000000000001")
TYPES = (
    TypeCase("txt", "ünï\n\\x 'é' 😀", "ünï\n\\x 'é' 😀", "ünï\n\\x 'é' 😀"),
    TypeCase("flag", 1, 1, 1),
    TypeCase("flag", "true", 1, 1),
    TypeCase("flag", False, 0, 0),
    TypeCase("bits", 1, b"\x01", 1),
    TypeCase("i2", 7.0, 7, 7),
    TypeCase("i8", 2**53 + 1, 2**53 + 1, 2**53 + 1),
    TypeCase("i8", "9007199254740993", 2**53 + 1, 2**53 + 1),
    TypeCase("u8", 2**64 - 1, 2**64 - 1, 2**64 - 1),
    TypeCase("f8", 1.5e300, 1.5e300, 1.5e300),
    TypeCase("num", "1.10", Decimal("1.10"), "1.10"),
    TypeCase("short", "ünï", "ünï", "ünï"),
    TypeCase("long_text", "x" * 100_000, "x" * 100_000, "x" * 100_000),
    TypeCase("js", '{"a": [1, null]}', '{"a": [1, null]}', '{"a": [1, null]}'),
    TypeCase("js", {"a": 1}, '{"a": 1}', '{"a": 1}'),
    TypeCase("doc", "AP90ZXh0", b"\x00\xfftext", "AP90ZXh0"),
    TypeCase("ident", str(UUID), UUID.bytes, "bBs8ngAAQACAAAAAAAAAAQ=="),
    TypeCase("at", "2023-11-14 22:13:20.500Z", INSTANT, AT),
    TypeCase("at", "2023-11-14T23:13:20.5+01:00", INSTANT, AT),
    TypeCase("at", 1_700_000_000.5, INSTANT, AT),
    TypeCase("at", 1_700_000_000_500, INSTANT, AT),
    TypeCase("local_at", "2023-11-14T23:13:20.5+01:00", INSTANT, LOCAL),
    TypeCase("local_at", 1_700_000_000_500, INSTANT, LOCAL),
    TypeCase("day", "2026-01-02", date(2026, 1, 2), "2026-01-02"),
    TypeCase("feeling", "fine", "fine", "fine"),
    TypeCase("born", 1984, 1984, 1984),
)
INVALID = (
    *(
        ("flag", "maybe"),
        ("bits", 2),
        ("i2", 40_000),
        ("i8", "1.5"),
        ("i8", "abc"),
        ("i8", 2**63),
        ("u8", -1),
        ("f8", "much"),
    ),
    *(
        ("num", "1,5"),
        ("num", "1e30"),
        ("short", "long"),
        ("js", "not json"),
        ("doc", "not base64!"),
        ("ident", "AP90ZXh0" * 3),
    ),
    *(("at", "soon"), ("at", "1960-01-01T00:00:00Z"), ("local_at", True), ("day", "2026-02-30"), ("day", 20_260_101)),
    *(("clock", "noon"), ("feeling", "angry"), ("born", 3000)),
)
SHOWN: dict[str, Any] = {
    "title": "é%",
    "version": 2**53 + 1,
    "modified_at": "2026-01-02T10:00:00.123456Z",
    "quantity": "1.10",
    "tags": '["a", "b"]',
    "settings": '{"k": 1}',
    "done": 1,
    "ratio": 0.5,
    "local_time": "2026-01-02T10:00:00.000000",
    "payload": "AAEC" * 30,
}
OUR_TABLES = (
    "syncline_uploads",
    "syncline_devices",
    "syncline_dead_letters",
    "syncline_upload_failures",
    "changing",
)
# A table without transactions is not rolled back: it counts the attempts.
CONFLICTS = (
    "CREATE TABLE attempts (n integer) ENGINE = MyISAM",
    """CREATE TRIGGER conflict BEFORE INSERT ON lists FOR EACH ROW BEGIN
      INSERT INTO attempts VALUES (1);
      IF (SELECT count(*) FROM attempts) < {succeeds_at} THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; END IF;
    END""",
)


class MariaDBSubject(Subject):
    """A database of its own on a server."""

    def __init__(self, server: MariaDBServer, url: URL) -> None:
        super().__init__(url, NAMES, types=TYPES, invalid=INVALID, shown=SHOWN)
        self._server = server
        run_statements(url, *table_statements(NAMES), *MORE)

    def persister(self, url: URL | None = None, **options: Any) -> Persister:
        """By URL."""
        return MySQLPersister((url or self.url).render_as_string(hide_password=False), **options)

    async def empty(self, observer: Observer) -> None:
        """Without foreign keys: rows go one by one."""
        async with observer.engine.begin() as connection:
            await observer.on(connection, "SET foreign_key_checks = 0")
            await observer.on(connection, "DELETE FROM lists")
        await super().empty(observer)

    async def conflicts(self, observer: Observer, *, succeeds_at: int) -> None:
        """A trigger that counts."""
        for statement in CONFLICTS:
            await observer.rows(statement.replace("{succeeds_at}", str(succeeds_at)))

    async def no_conflicts(self, observer: Observer) -> int:
        """What the table says."""
        [(attempts,)] = await observer.rows("SELECT count(*) FROM attempts")
        await observer.rows("DROP TRIGGER conflict")
        await observer.rows("DROP TABLE attempts")
        return attempts

    async def make_reader(self, observer: Observer) -> URL:
        """A user with no right to make anything, triggers among them."""
        user = f"reader_{uuid.uuid4().hex[:8]}"
        await observer.rows(f"CREATE USER {user} IDENTIFIED BY '{user}'")
        for table in OUR_TABLES:
            await observer.rows(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {user}")
        await observer.rows(f"GRANT SELECT ON lists TO {user}")
        return self._server.url(self.url.database or "", user=user, password=user)
