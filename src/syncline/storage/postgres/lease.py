"""One writer at a time: a row with an epoch that every write transaction checks, and an end by the database's clock.

The holder renews it each second through a connection of its own, so that a long flush does not let it run out. It is free when it has
run out, and at once when the holder's writing connection is gone: a killed process keeps nobody waiting. Who takes a lease that has run
out ends the holder's connection: a transaction that a stopped process has left open would keep the row locked.
"""

from __future__ import annotations

import logging
import os
import socket
import threading

import psycopg

from syncline.errors import LeaseLost, StorageError, StorageUnavailable
from syncline.storage.postgres.connection import Row, connect
from syncline.storage.postgres.errors import storage_errors
from syncline.storage.postgres.statements import SchemaSql

__all__ = ["EXPIRY_S", "Lease"]

log = logging.getLogger(__name__)

EXPIRY_S = 3  # seconds without renewal after which another may take the lease: the role has moved within 5
RENEW_INTERVAL_S = 1.0
TAKE_TIMEOUT_MS = 2000  # a holder's transaction keeps the row locked that long at most before we call the lease held

# Other roles' backends show no start: then the process id has to do.
_LOOK = """
SELECT l.expires_at > clock_timestamp(), l.holder, (
         SELECT a.pid FROM pg_stat_activity a
          WHERE a.pid = l.backend_pid AND (a.backend_start IS NULL OR a.backend_start = l.backend_start))
  FROM {schema}.lease l
"""
_LOCKED_LOOK = f"{_LOOK} FOR UPDATE OF l"
_TAKE = """
UPDATE {schema}.lease
   SET epoch = epoch + 1, expires_at = clock_timestamp() + make_interval(secs => %s), backend_pid = pg_backend_pid(),
       backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()), holder = %s
RETURNING epoch
"""
_TAKE_ALONG = """
UPDATE {schema}.lease
   SET backend_pid = pg_backend_pid(), backend_start = (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())
 WHERE epoch = %s
"""
_RENEW = "UPDATE {schema}.lease SET expires_at = clock_timestamp() + make_interval(secs => %s) WHERE epoch = %s"
_RELEASE = """
UPDATE {schema}.lease SET expires_at = '-infinity', backend_pid = NULL, backend_start = NULL, holder = '' WHERE epoch = %s
"""


class Lease:
    """The right to write a storage, held from construction to `release`. Raises StorageUnavailable while another process has it.

    `writing` is the connection that writes; its end frees the lease.
    """

    def __init__(self, conninfo: str, sql: SchemaSql, writing: psycopg.Connection[Row]) -> None:
        self._conninfo = conninfo
        self._sql = sql
        self.epoch = self._take(writing)
        self.lost = False
        """Whether a renewal has found out that another has the lease."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_stopped, name="storage-lease", daemon=True)
        self._thread.start()

    def take_along(self, writing: psycopg.Connection[Row]) -> None:
        """The holder writes through another connection from now on. Raises LeaseLost when the lease was taken meanwhile."""
        with storage_errors():
            if writing.execute(self._sql(_TAKE_ALONG), (self.epoch,)).rowcount != 1:
                raise LeaseLost("Another replicator has taken over this storage.")

    def release(self, writing: psycopg.Connection[Row]) -> None:
        """Let another process write. Safe to call twice, and where the connection is broken: its end has freed the lease then."""
        self._stopping.set()
        self._thread.join()
        if not writing.closed:
            try:
                writing.execute(self._sql(_RELEASE), (self.epoch,))
            except psycopg.Error as exc:
                log.info("The lease runs out by itself: %s", exc, extra={"event": "storage.lease_left"})

    def _take(self, writing: psycopg.Connection[Row]) -> int:
        sql = self._sql
        with storage_errors():
            # First without a lock: a stand-by looks often, and whoever waits for the row holds up the holder's writes.
            unexpired, holder, backend = writing.execute(sql(_LOOK)).fetchone() or (True, "", None)
            if unexpired and backend is not None:
                raise self._held(holder)
            if backend is not None:
                self._end_holder(writing, backend, holder)
            try:
                with writing.transaction():
                    writing.execute(f"SET LOCAL lock_timeout = {TAKE_TIMEOUT_MS}".encode())
                    unexpired, holder, backend = writing.execute(sql(_LOCKED_LOOK)).fetchone() or (True, "", 0)
                    if unexpired and backend is not None:
                        raise self._held(holder)
                    taken = writing.execute(sql(_TAKE), (EXPIRY_S, f"{socket.gethostname()}:{os.getpid()}")).fetchone()
            except psycopg.errors.LockNotAvailable as exc:
                raise self._held(holder) from exc
        assert taken is not None
        return taken[0]

    def _end_holder(self, writing: psycopg.Connection[Row], backend: int, holder: str) -> None:
        """End the connection of a holder whose lease has run out. Where the role may not, the lock's own timeout decides."""
        try:
            writing.execute("SELECT pg_terminate_backend(%s)", (backend,))
        except psycopg.errors.InsufficientPrivilege as exc:
            log.info("The connection of %s stays: %s", holder, exc, extra={"event": "storage.lease_holder"})

    def _held(self, holder: str) -> StorageUnavailable:
        whose = f" ({holder})" if holder else ""
        return StorageUnavailable(
            f"Another process{whose} replicates into the schema {self._sql.schema}.",
            code="PSYNC_S1003",
            hint="Stop the other Syncline service, or give this one a storage.schema or database of its own.",
        )

    def _renew_until_stopped(self) -> None:
        connection: psycopg.Connection[Row] | None = None
        while not self._stopping.wait(RENEW_INTERVAL_S):
            try:
                if connection is None or connection.closed or connection.broken:
                    connection = connect(self._conninfo, application_name="syncline lease")
                with storage_errors():
                    renewed = connection.execute(self._sql(_RENEW), (EXPIRY_S, self.epoch)).rowcount == 1
            except StorageError as exc:
                log.warning("The storage's lease could not be renewed: %s", exc, extra={"event": "storage.lease_error"})
                continue
            if not renewed:  # the next use of the writing connection raises
                self.lost = True
                log.error("Another replicator has taken over this storage", extra={"event": "storage.lease_lost"})
                break
        if connection is not None:
            connection.close()
