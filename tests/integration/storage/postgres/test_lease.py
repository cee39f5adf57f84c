"""The lease over real connections: a killed holder, one that fell silent, and one that comes back."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection

import pytest

from syncline.errors import LeaseLost, StorageUnavailable
from syncline.storage.model import FlushBatch
from syncline.storage.postgres import PostgresStorage
from syncline.storage.postgres.lease import EXPIRY_S
from syncline.testing.postgres import ScratchDatabase
from syncline.testing.waiting import eventually_sync
from tests.conformance.storage_suite.builders import begun, put

A = "10#a[]"
WRITERS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'syncline writer' AND datname = current_database()"


def hold_lease(dsn: str, ready: Connection) -> None:
    """Take the lease, say so, and do nothing more until the end."""
    writer = PostgresStorage(dsn).open_writer()
    ready.send(True)
    threading.Event().wait()
    writer.close()


def takes_over(storage: PostgresStorage) -> bool:
    try:
        storage.open_writer().close()
    except StorageUnavailable as exc:
        if exc.error_code == "PSYNC_S1003":
            return False
        raise
    return True


def test_a_killed_process_keeps_nobody_waiting(postgres_database: ScratchDatabase) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    holder = context.Process(target=hold_lease, args=(postgres_database.dsn, theirs))
    holder.start()
    try:
        assert ours.poll(20), "the other process has the lease"
        storage = PostgresStorage(postgres_database.dsn)
        with pytest.raises(StorageUnavailable, match="Another process") as caught:
            storage.open_writer()
        assert str(holder.pid) in str(caught.value), "the message names the holder"
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)
        eventually_sync(lambda: takes_over(storage), timeout_s=EXPIRY_S / 2, what="the lease is free")
    finally:
        holder.kill()
        holder.join()
        holder.close()
        ours.close()
        theirs.close()


def test_a_holder_that_fell_silent_loses_the_lease_when_it_runs_out(postgres_database: ScratchDatabase) -> None:
    storage = PostgresStorage(postgres_database.dsn)
    silent = storage.open_writer()
    version = begun(silent)
    assert not takes_over(storage)
    postgres_database.execute("UPDATE syncline.lease SET expires_at = clock_timestamp() - interval '1 s'")
    taker = storage.open_writer()  # although the silent one's connection is still there: it is ended
    with pytest.raises((StorageUnavailable, LeaseLost)):
        silent.flush(version, FlushBatch(ops=[put(A, "1")]))
    with pytest.raises(LeaseLost):
        silent.flush(version, FlushBatch(ops=[put(A, "1")]))
    with pytest.raises(LeaseLost):
        silent.versions()  # nor does it act upon what it reads
    assert taker.flush(version, FlushBatch(ops=[put(A, "1")])) == 1
    silent.close()  # releases nothing that is another's
    assert not takes_over(storage)
    taker.close()
    assert takes_over(storage)


def test_a_transaction_that_a_stopped_holder_left_open_keeps_nobody_waiting(postgres_database: ScratchDatabase) -> None:
    storage = PostgresStorage(postgres_database.dsn)
    storage.open_writer().close()
    stopped = postgres_database.connect()
    with contextlib.closing(stopped):
        stopped.execute(
            "UPDATE syncline.lease SET holder = 'stopped', backend_pid = pg_backend_pid(), backend_start ="
            " (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())"
        )
        stopped.execute("BEGIN")
        stopped.execute("SELECT epoch FROM syncline.lease FOR KEY SHARE")
        assert takes_over(storage), "a lease that has run out is taken at once"


def test_the_lease_is_renewed_while_the_holder_is_idle(postgres_database: ScratchDatabase) -> None:
    storage = PostgresStorage(postgres_database.dsn)
    writer = storage.open_writer()
    look = "SELECT expires_at FROM syncline.lease"
    first = postgres_database.execute(look)[0][0]
    eventually_sync(lambda: postgres_database.execute(look)[0][0] > first, what="the lease is renewed")
    writer.close()


def test_a_taker_waits_for_the_end_of_a_write_transaction(postgres_database: ScratchDatabase) -> None:
    """Whoever checks the epoch holds the row until its commit: no write of the old holder lands after the new one began."""
    storage = PostgresStorage(postgres_database.dsn)
    storage.open_writer().close()
    with postgres_database.connect() as old:
        old.execute("BEGIN")
        old.execute("SELECT epoch FROM syncline.lease FOR KEY SHARE")
        assert not takes_over(storage), "it is called held, after a short wait"
        old.execute("COMMIT")
    assert takes_over(storage)


def test_a_writer_goes_on_after_its_connection_was_cut(postgres_database: ScratchDatabase) -> None:
    storage = PostgresStorage(postgres_database.dsn)
    writer = storage.open_writer()
    version = begun(writer)
    assert writer.flush(version, FlushBatch(ops=[put(A, "1")])) == 1
    [(pid,)] = postgres_database.execute(WRITERS)
    postgres_database.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(StorageUnavailable):
        writer.flush(version, FlushBatch(ops=[put(A, "2")]))
    assert writer.flush(version, FlushBatch(ops=[put(A, "2")])) == 2
    assert not takes_over(storage), "the new connection has the lease"
    writer.close()


def test_a_writer_whose_lease_was_taken_while_it_was_cut_off_finds_out(postgres_database: ScratchDatabase) -> None:
    storage = PostgresStorage(postgres_database.dsn)
    writer = storage.open_writer()
    version = begun(writer)
    [(pid,)] = postgres_database.execute(WRITERS)
    postgres_database.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    taker = storage.open_writer()
    with pytest.raises(StorageUnavailable):
        writer.flush(version, FlushBatch(ops=[put(A, "1")]))
    with pytest.raises(LeaseLost):
        writer.flush(version, FlushBatch(ops=[put(A, "1")]))
    taker.close()
    writer.close()
