"""Postgres, for the suite."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.engine import URL, make_url

from syncline.backend.persisters.base import Persister
from syncline.testing.postgres import ScratchDatabase
from tests.conformance.persister_suite.subject import Observer, Subject, TypeCase
from tests.conformance.persister_suite.tables import table_statements

__all__ = ["PostgresSubject"]

NAMES = {
    "key": "text",
    "text": "text",
    "uuid": "uuid",
    "time": "timestamptz",
    "plain_time": "timestamp",
    "flag": "boolean",
    "true": "true",
    "false": "false",
    "number": "numeric",
    "real": "double precision",
    "json": "jsonb",
    "list": "text[]",
    "blob": "bytea",
    "odd_table": '"odd ""name"" 100%"',
    "odd_column": '"a ""b"" 5%s"',
    "parents": '"app lists 100%"',
}
MORE = (
    "CREATE TYPE mood AS ENUM ('sad', 'fine')",
    """CREATE TABLE types (
      id uuid PRIMARY KEY, txt text, flag boolean, i2 smallint, i8 bigint, f8 double precision, num numeric, short varchar(3),
      js json, jsb jsonb, doc bytea, at timestamptz, local_at timestamp, day date, feeling mood, words text[], numbers integer[],
      doubled bigint GENERATED ALWAYS AS (i8 * 2) STORED)""",
    """CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN INSERT INTO effects VALUES (NEW.id); RETURN NEW; END $$""",
    "CREATE TRIGGER note AFTER INSERT OR UPDATE ON lists FOR EACH ROW EXECUTE FUNCTION note_effect()",
)
INSTANT = datetime(2023, 11, 14, 22, 13, 20, 500_000, UTC)
AT, LOCAL = "2023-11-14T22:13:20.500000Z", "2023-11-14T22:13:20.500000"
TYPES = (
    TypeCase("flag", 1, True, 1),
    TypeCase("flag", "false", False, 0),
    TypeCase("i2", 7.0, 7, 7),
    TypeCase("i8", 2**53 + 1, 2**53 + 1, 2**53 + 1),
    TypeCase("i8", "9007199254740993", 2**53 + 1, 2**53 + 1),
    TypeCase("f8", 1.5e300, 1.5e300, 1.5e300),
    TypeCase("num", "1.10", Decimal("1.10"), "1.10"),
    TypeCase("short", "ünï", "ünï", "ünï"),
    TypeCase("js", '{"a": 1}', {"a": 1}, '{"a": 1}'),
    TypeCase("jsb", '{"a": [1, null]}', {"a": [1, None]}, '{"a": [1, null]}'),
    TypeCase("jsb", {"a": 1}, {"a": 1}, '{"a": 1}'),
    TypeCase("doc", "AP90ZXh0", b"\x00\xfftext", "AP90ZXh0"),
    TypeCase("at", "2023-11-14 22:13:20.500Z", INSTANT, AT),
    TypeCase("at", "2023-11-14T23:13:20.5+01:00", INSTANT, AT),
    TypeCase("at", 1_700_000_000.5, INSTANT, AT),
    TypeCase("at", 1_700_000_000_500, INSTANT, AT),
    TypeCase("local_at", 1_700_000_000_500, INSTANT.replace(tzinfo=None), LOCAL),
    TypeCase("day", "2026-01-02", date(2026, 1, 2), "2026-01-02"),
    TypeCase("feeling", "fine", "fine", "fine"),
    TypeCase(
        "words",
        '["a,b", "c\\"d", null, "NULL", ""]',
        ["a,b", 'c"d', None, "NULL", ""],
        '["a,b","c\\"d",null,"NULL",""]',
    ),
    TypeCase("numbers", [[1, 2.0], [3, 4]], [[1, 2], [3, 4]], "[[1,2],[3,4]]"),
)
INVALID = (
    *(("flag", 2), ("i2", 40_000), ("i8", "1.5"), ("i8", 2**63), ("f8", "much"), ("num", "1,5"), ("short", "long")),
    *(("jsb", "not json"), ("doc", "not base64!"), ("at", "soon"), ("day", "2026-02-30"), ("feeling", "angry")),
    *(("words", "hello"), ("txt", "zero\0")),
)
SHOWN: dict[str, Any] = {
    "title": "é%",
    "version": 2**53 + 1,
    "modified_at": "2026-01-02T10:00:00.123456Z",
    "quantity": "1.10",
    "tags": '["a","b"]',
    "settings": '{"k": 1}',
    "done": 1,
    "ratio": 0.5,
    "local_time": "2026-01-02T10:00:00.000000",
    "payload": "AAEC" * 30,
}
# A sequence is not rolled back: it counts the attempts.
CONFLICTS = (
    "CREATE SEQUENCE attempts",
    """CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF nextval('attempts') < {succeeds_at} THEN RAISE EXCEPTION 'conflict' USING ERRCODE = '40P01'; END IF; RETURN NEW;
    END $$""",
    "CREATE TRIGGER conflict BEFORE INSERT ON lists FOR EACH ROW EXECUTE FUNCTION conflict()",
)


class PostgresSubject(Subject):
    """A database of its own, and a way to make a persister of a DSN."""

    def __init__(self, database: ScratchDatabase, make: Callable[..., Persister]) -> None:
        url = make_url(database.dsn).set(drivername="postgresql+psycopg")
        super().__init__(url, NAMES, types=TYPES, invalid=INVALID, shown=SHOWN, gives_up_at_once=False)
        self._make = make
        self._readers: list[str] = []
        self._database = database
        for statement in (*table_statements(NAMES), *MORE):
            database.execute(statement)

    def persister(self, url: URL | None = None, **options: Any) -> Persister:
        """By DSN: SQLAlchemyPersister adds the driver."""
        dsn = (url or self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        return self._make(dsn, **options)

    async def conflicts(self, observer: Observer, *, succeeds_at: int) -> None:
        """A trigger that counts."""
        for statement in CONFLICTS:
            await observer.rows(statement.replace("{succeeds_at}", str(succeeds_at)))

    async def no_conflicts(self, observer: Observer) -> int:
        """What the sequence says."""
        [(attempts,)] = await observer.rows("SELECT last_value FROM attempts")
        await observer.rows("DROP TRIGGER conflict ON lists")
        await observer.rows("DROP FUNCTION conflict")
        await observer.rows("DROP SEQUENCE attempts")
        return attempts

    async def make_reader(self, observer: Observer) -> URL:
        """A role with no right to make anything, triggers among them."""
        role = f"reader_{uuid.uuid4().hex[:8]}"
        self._readers.append(role)
        await observer.rows("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        await observer.rows(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        for (table,) in await observer.rows("SELECT tablename FROM pg_tables WHERE tablename LIKE 'syncline%'"):
            await observer.rows(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {role}")
        await observer.rows(f"GRANT SELECT, UPDATE ON changing TO {role}")
        await observer.rows(f"GRANT SELECT ON lists TO {role}")
        return self.url.set(username=role, password=role)

    def close(self) -> None:
        """Drop the roles, which belong to the server."""
        for role in self._readers:
            self._database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
