"""What goes wrong at the source is said, with its code and what to do, and heals when it is over."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from syncline.embedded import EmbeddedPostgres
from syncline.replication import apply as apply_module
from syncline.replication import job as job_module
from syncline.replication.postgres import slot as slot_module
from syncline.replication.postgres.source import PostgresSource
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually
from tests.integration.replication.following import SLOT
from tests.integration.replication.replicating import Replica, replicating

TABLE = "CREATE TABLE t (id text PRIMARY KEY, owner text, n int, note text)"


@pytest.fixture
def database(postgres_database: ScratchDatabase) -> ScratchDatabase:
    """One row of a published table."""
    postgres_database.execute(
        f"{TABLE}; INSERT INTO t VALUES ('r1', 'ann', 1, 'x'); CREATE PUBLICATION powersync FOR ALL TABLES"
    )
    return postgres_database


def recorded(replica: Replica) -> str:
    """The error that storage has of the newest version."""
    versions = replica.writer.versions()
    return versions[-1].last_error if versions else ""


async def test_the_transaction_that_a_new_slot_waits_for_is_named(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(slot_module, "CREATE_WAIT_TOLD_S", 0.1)
    with database.connect() as blocker:
        blocker.execute("SET application_name = 'a forgotten shell'; BEGIN; INSERT INTO t VALUES ('r2', 'ann', 2, 'y')")
        async with replicating(database.dsn, tmp_path) as replica:
            named = (
                f"process {blocker.info.backend_pid} (idle in transaction) of user postgres in database {database.name}"
            )
            await eventually(lambda: named in recorded(replica), what="the transaction is named")
            assert "a forgotten shell" in recorded(replica)
            assert f"pg_terminate_backend({blocker.info.backend_pid})" in replica.job.status.phase
            blocker.execute("COMMIT")
            await replica.caught_up()
            assert recorded(replica) == ""
            assert set(await replica.rows("ann")) == {"r1", "r2"}
    assert any(getattr(record, "event", "") == "replication.slot_wait" for record in caplog.records)


async def test_stopping_while_a_slot_is_being_made_leaves_none(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_module, "CREATE_WAIT_TOLD_S", 0.1)
    slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    with database.connect() as blocker:
        blocker.execute("BEGIN; INSERT INTO t VALUES ('r2', 'ann', 2, 'y')")
        async with replicating(database.dsn, tmp_path) as replica:
            await eventually(lambda: "pg_terminate_backend" in recorded(replica), what="the slot waits")
        await eventually(lambda: database.execute(slots) == [(0,)], what="no slot is left")
        blocker.execute("COMMIT")
    async with replicating(database.dsn, tmp_path) as replica:
        await replica.caught_up()
        assert set(await replica.rows("ann")) == {"r1", "r2"}
        assert database.execute(slots) == [(1,)]


async def test_a_prepared_transaction_that_a_new_slot_waits_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_module, "CREATE_WAIT_TOLD_S", 0.1)
    with EmbeddedPostgres(settings={"max_prepared_transactions": "2"}) as server:
        database = ScratchDatabase(server.dsn(), "postgres")
        database.execute(f"{TABLE}; CREATE PUBLICATION powersync FOR ALL TABLES")
        database.execute("BEGIN; INSERT INTO t VALUES ('r1', 'ann', 1, 'x'); PREPARE TRANSACTION 'left over'")
        async with replicating(server.dsn(), tmp_path) as replica:
            await eventually(lambda: "'left over'" in recorded(replica), what="the transaction is named")
            database.execute("COMMIT PREPARED 'left over'")
            await replica.caught_up()
            assert set(await replica.rows("ann")) == {"r1"}


async def test_a_refused_password_is_told_once_and_heals_when_it_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(job_module, "RETRY_REFUSED_S", 0.05)
    with EmbeddedPostgres() as server:
        database = ScratchDatabase(server.dsn(), "postgres")
        database.execute(
            f"{TABLE}; CREATE PUBLICATION powersync FOR ALL TABLES; CREATE ROLE sync SUPERUSER LOGIN PASSWORD 'old'"
        )
        [(hba,)] = database.execute("SHOW hba_file")
        Path(hba).write_text("host all sync all scram-sha-256\n" + Path(hba).read_text())
        database.execute("SELECT pg_reload_conf()")
        dsn = server.dsn().replace("postgres@", "sync:new@")
        async with replicating(server.dsn(), tmp_path, through=dsn) as replica:
            await eventually(lambda: replica.job.status.last_error is not None, what="the refusal is told")
            error = replica.job.status.last_error
            assert error is not None
            assert (error.error_code, "password" in error.message, "new" in str(error)) == ("PSYNC_S1120", True, False)
            for _ in range(5):
                before = replica.job.status.touched_s
                await eventually(lambda b=before: replica.job.status.touched_s > b, what="another attempt")
            told = [record for record in caplog.records if getattr(record, "event", "") == "replication.error"]
            assert len(told) == 1, "five attempts, one line"
            database.execute("ALTER ROLE sync PASSWORD 'new'")
            await replica.caught_up()
            await eventually(lambda: replica.job.status.last_error is None, what="all is well")


@pytest.mark.requirement(177)
async def test_a_slot_whose_log_runs_out_is_told_before_it_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(job_module, "SLOT_INTERVAL_S", 0.0)
    monkeypatch.setattr(job_module, "ACKNOWLEDGE_INTERVAL_S", 0.05)
    with EmbeddedPostgres(settings={"max_slot_wal_keep_size": "64MB"}) as server:
        database = ScratchDatabase(server.dsn(), "postgres")
        database.execute(f"{TABLE}; CREATE PUBLICATION powersync FOR ALL TABLES")
        source = PostgresSource(server.dsn(), application_name="syncline/test")
        await source.create_slot(SLOT)
        full = await source.slot_budget(SLOT)
        assert full is not None
        for _ in range(3):
            database.execute(
                "SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000)) FROM generate_series(1, 10)"
            )
            database.execute("SELECT pg_switch_wal()")
        shrunk = await source.slot_budget(SLOT)
        assert shrunk is not None
        assert 0 <= shrunk <= 0.5 < full
        await source.drop_slot(SLOT)
        await source.close()
        monkeypatch.setattr(job_module, "SLOT_BUDGET_TOLD", 2.0)  # the whole budget is below this
        async with replicating(server.dsn(), tmp_path) as replica:
            await eventually(lambda: replica.job.status.slot_budget is not None, what="the budget is known")
            await eventually(
                lambda: any(getattr(record, "event", "") == "replication.slot_budget" for record in caplog.records),
                what="it is told",
            )


async def test_a_slot_without_a_limit_has_no_budget(database: ScratchDatabase, source: PostgresSource) -> None:
    await source.create_slot(SLOT)
    assert await source.slot_budget(SLOT) is None


async def test_a_slot_lost_while_tables_are_copied_begins_a_new_version(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = PostgresSource.snapshot
    lost: list[str] = []

    def without_slot(self: PostgresSource, *arguments: object, **options: object) -> object:
        if not lost:
            lost.append(str(options["slot_name"]))
            database.execute("SELECT pg_drop_replication_slot(%s)", (lost[0],))
        return original(self, *arguments, **options)  # type: ignore[arg-type] # passes on what it was given

    monkeypatch.setattr(PostgresSource, "snapshot", without_slot)
    async with replicating(database.dsn, tmp_path) as replica:
        await replica.caught_up()
        version = await replica.version()
        assert lost
        assert version.slot_name != lost[0]
        assert set(await replica.rows("ann")) == {"r1"}


async def test_a_role_that_row_security_hides_rows_from_is_told(tmp_path: Path, database: ScratchDatabase) -> None:
    database.execute(
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; DROP ROLE IF EXISTS hidden_from;"
        "CREATE ROLE hidden_from LOGIN REPLICATION; GRANT SELECT ON t TO hidden_from"
    )
    try:
        async with replicating(
            database.dsn, tmp_path, through=database.dsn.replace("postgres@", "hidden_from@")
        ) as replica:
            await eventually(lambda: "PSYNC_S1145" in recorded(replica), what="it is told")
            database.execute("ALTER ROLE hidden_from BYPASSRLS")
            await replica.caught_up()
            assert set(await replica.rows("ann")) == {"r1"}
            await eventually(lambda: recorded(replica) == "", what="the error is cleared")
    finally:
        database.execute("DROP OWNED BY hidden_from; DROP ROLE hidden_from")


async def test_a_heartbeat_moves_an_idle_slot(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "ACKNOWLEDGE_INTERVAL_S", 0.02)
    async with replicating(database.dsn, tmp_path, heartbeat_interval_s=0.02) as replica:
        version = await replica.version()
        confirmed = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = %s"

        def position() -> str:
            return database.execute(confirmed, (version.slot_name,))[0][0]

        for _ in range(3):
            before = position()
            await eventually(lambda b=before: position() != b, what="the slot moves although nobody writes")


async def test_a_row_that_no_client_takes_is_left_out_and_told(
    database: ScratchDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(apply_module, "ROW_BYTES_MAX", 1000)
    monkeypatch.setattr(apply_module, "ROW_CHARACTERS_MAX", 250)
    database.execute("INSERT INTO t VALUES ('large', 'ann', 2, repeat('ü', 600)), ('fits', 'ann', 3, repeat('x', 900))")
    async with replicating(database.dsn, tmp_path) as replica:
        await replica.caught_up()
        assert set(await replica.rows("ann")) == {"r1", "fits"}
        database.execute(
            "UPDATE t SET note = repeat('y', 2000) WHERE id = 'r1'; UPDATE t SET note = 'z' WHERE id = 'large'"
        )
        await replica.caught_up()
        assert set(await replica.rows("ann")) == {"large", "fits"}
    told = [record.getMessage() for record in caplog.records if "PSYNC_S1002" in record.getMessage()]
    assert len(told) == 2
    assert not any("yyy" in text for text in told), "values stay out of the log"


async def test_errors_of_a_cut_off_source_are_repeated_once_a_minute(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "RETRY_DELAY_MIN_S", 0.01)
    monkeypatch.setattr(job_module, "RETRY_DELAY_MAX_S", 0.01)
    caplog.set_level(logging.INFO)
    nowhere = "postgresql://someone@127.0.0.1:1/none"
    async with replicating(nowhere, tmp_path) as replica:
        for _ in range(5):
            before = replica.job.status.touched_s
            await eventually(lambda b=before: replica.job.status.touched_s > b, what="another attempt")
    told = [record for record in caplog.records if getattr(record, "event", "") == "replication.error"]
    assert len(told) == 1
