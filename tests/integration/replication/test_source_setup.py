"""`setup_sql` prints what a source lacks and nothing else; run as it is, it heals the source."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import psycopg
import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.errors import SourceNotReady
from syncline.replication.postgres.checks import KEPT_LOG_ADVISED_MB, RESTART_NOTE, setup_sql
from syncline.replication.postgres.connection import connect
from syncline.replication.postgres.source import PUBLICATION, PostgresSource

PREFIX = "syncline_"
WAL_LEVEL = "ALTER SYSTEM SET wal_level = 'logical';"
SLOTS = "ALTER SYSTEM SET max_replication_slots = 10;"
SENDERS = "ALTER SYSTEM SET max_wal_senders = 10;"
KEPT_LOG = f"ALTER SYSTEM SET max_slot_wal_keep_size = '{KEPT_LOG_ADVISED_MB // 1024}GB';"
RELOAD = "SELECT pg_reload_conf();"
PUBLISH = "CREATE PUBLICATION powersync FOR ALL TABLES;"
OF_THE_ENGINE = ("wal_level", "max_wal_senders", "max_replication_slots")


@pytest.fixture(scope="module")
def server() -> Generator[EmbeddedPostgres]:
    """A server with Postgres' own settings: those of the command line could not be altered by SQL."""
    server = EmbeddedPostgres()
    for name in OF_THE_ENGINE:
        del server._settings[name]
    with server:
        yield server


@pytest.fixture(autouse=True)
def as_initdb_left_it(server: EmbeddedPostgres) -> Generator[None]:
    """No setting, publication or role of another test."""
    yield
    run(server, "ALTER SYSTEM RESET ALL", "DROP PUBLICATION IF EXISTS powersync")
    server.restart()


def run(server: EmbeddedPostgres, *statements: str, user: str = "postgres") -> list[tuple[Any, ...]]:
    """Run statements one by one, as psql does; the rows of the last one."""
    with psycopg.connect(server.dsn().replace("postgres@", f"{user}@"), autocommit=True) as connection:
        rows: list[tuple[Any, ...]] = []
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
        return rows


async def printed(server: EmbeddedPostgres, *, user: str = "postgres") -> str:
    """What the check prints for this role."""
    connection = await connect(server.dsn().replace("postgres@", f"{user}@"), application_name="syncline/test")
    async with connection:
        return await setup_sql(connection, PUBLICATION, slot_name_prefix=PREFIX)


def statements_of(text: str) -> list[str]:
    """The statements, without the comments."""
    return [line for line in text.splitlines() if not line.startswith("--")]


@pytest.mark.requirement(225)
@pytest.mark.parametrize(
    ("before", "missing"),
    [
        ((), [WAL_LEVEL, PUBLISH, KEPT_LOG, RELOAD]),
        ((PUBLISH, WAL_LEVEL), [KEPT_LOG, RELOAD]),
        ((PUBLISH, KEPT_LOG), [WAL_LEVEL]),
        ((KEPT_LOG, WAL_LEVEL), [PUBLISH]),
        ((PUBLISH, KEPT_LOG, WAL_LEVEL, "ALTER SYSTEM SET max_wal_senders = 0"), [SENDERS]),
        ((PUBLISH, KEPT_LOG, WAL_LEVEL, "ALTER SYSTEM SET max_wal_senders = 1"), [SENDERS]),
        ((PUBLISH, KEPT_LOG, WAL_LEVEL, "ALTER SYSTEM SET max_replication_slots = 0"), [SLOTS]),
        ((PUBLISH, KEPT_LOG, WAL_LEVEL, "ALTER SYSTEM SET max_replication_slots = 1"), [SLOTS]),
        ((PUBLISH, WAL_LEVEL, "ALTER SYSTEM SET max_slot_wal_keep_size = '100MB'"), [KEPT_LOG, RELOAD]),
        ((PUBLISH, WAL_LEVEL, KEPT_LOG), []),
    ],
    ids=[
        "default",
        "log-unbounded",
        "wal-level",
        "publication",
        "no-senders",
        "one-sender",
        "no-slots",
        "one-slot",
        "little-log",
        "nothing",
    ],
)
async def test_exactly_what_is_missing_is_printed_and_it_heals_the_source(
    server: EmbeddedPostgres, before: tuple[str, ...], missing: list[str]
) -> None:
    run(server, *before)
    server.restart()
    source = PostgresSource(server.dsn(), application_name="syncline/test")
    text = await printed(server)
    assert statements_of(text) == missing
    assert (RESTART_NOTE in text) == any(one in missing for one in (WAL_LEVEL, SLOTS, SENDERS))
    if "= 0" in " ".join(before) or WAL_LEVEL in missing or PUBLISH in missing:
        with pytest.raises(SourceNotReady) as raised:
            await source.check()
        required = [one for one in missing if one not in (KEPT_LOG, RELOAD)]
        assert (raised.value.hint or "").splitlines()[1:] == required
    else:
        await source.check()
    await source.close()
    run(server, *statements_of(text))
    if RESTART_NOTE in text:
        server.restart()
    assert await printed(server) == "", "what was printed was all of it"
    source = PostgresSource(server.dsn(), application_name="syncline/test")
    try:
        await source.check()
        await source.create_slot("syncline_1")
        await source.drop_slot("syncline_1")
    finally:
        await source.close()


@pytest.mark.requirement(225)
async def test_the_slots_of_others_are_counted(server: EmbeddedPostgres) -> None:
    run(server, PUBLISH, KEPT_LOG, WAL_LEVEL, "ALTER SYSTEM SET max_replication_slots = 4")
    server.restart()
    slots = [f"other_{number}" for number in range(3)]
    for name in slots:
        run(server, f"SELECT pg_create_physical_replication_slot('{name}')")
    run(server, "SELECT pg_create_physical_replication_slot('syncline_7')")
    try:
        text = await printed(server)
        assert statements_of(text) == [SLOTS]
        assert "3 slots of others" in text
    finally:
        for name in (*slots, "syncline_7"):
            run(server, f"SELECT pg_drop_replication_slot('{name}')")


async def test_a_role_is_printed_the_rights_that_it_lacks_table_by_table(server: EmbeddedPostgres) -> None:
    run(
        server,
        'CREATE TABLE readable (id int); CREATE TABLE "Hidden one" (id int); CREATE TABLE guarded (id int)',
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
        "CREATE ROLE plain LOGIN",
        "GRANT SELECT ON readable, guarded TO plain",
        *(PUBLISH, KEPT_LOG, WAL_LEVEL),
    )
    server.restart()
    try:
        text = await printed(server, user="plain")
        assert statements_of(text) == [
            "ALTER ROLE plain WITH REPLICATION;",
            'GRANT SELECT ON public."Hidden one" TO plain;',
            "ALTER ROLE plain BYPASSRLS;",
        ]
        run(server, *statements_of(text))
        assert await printed(server, user="plain") == ""
    finally:
        run(server, 'DROP TABLE readable, guarded, "Hidden one"', "DROP ROLE plain")
