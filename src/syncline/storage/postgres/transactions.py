"""Write transactions: each checks the lease, is begun again where Postgres asks for it, and reconnects after a cut."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TypeVar

import psycopg
from psycopg import pq

from syncline.errors import LeaseLost
from syncline.storage.postgres.connection import Row, connect
from syncline.storage.postgres.errors import storage_errors
from syncline.storage.postgres.lease import Lease
from syncline.storage.postgres.migrations import migrate
from syncline.storage.postgres.statements import SchemaSql

__all__ = ["WriteConnection", "WriteTransaction"]

RETRY_TIMEOUT_S = 60.0  # seconds of deadlocks and serialization failures after which a transaction is given up
RETRY_DELAY_MAX_S = 1.0
_T = TypeVar("_T")

# The row's lock lets renewals through (they change no key) and keeps a taker waiting until the transaction has ended.
_BEGIN = """
BEGIN; SET LOCAL synchronous_commit = {durability};
SELECT s.last_op FROM {{schema}}.lease l, {{schema}}.storage_state s WHERE l.epoch = {epoch} FOR KEY SHARE OF l
"""


class WriteTransaction:
    """An open write transaction: what it is given to work with."""

    def __init__(self, connection: psycopg.Connection[Row], sql: SchemaSql, last_op: int) -> None:
        self.connection = connection
        self.sql = sql
        self.last_op = last_op
        """The last op id that was given before this transaction."""

    def execute(self, statement: str, parameters: tuple[object, ...] = ()) -> psycopg.Cursor[Row]:
        """Run a statement in which `{schema}` stands for the schema's name."""
        return self.connection.execute(self.sql(statement), parameters or None)

    def one(self, statement: str, parameters: tuple[object, ...] = ()) -> Row:
        """The first row of a statement that has one."""
        row = self.execute(statement, parameters).fetchone()
        assert row is not None, "the statement has a row"
        return row


class WriteConnection:
    """The writer's connection and lease. Raises StorageUnavailable where there is no storage or no lease to be had."""

    def __init__(self, conninfo: str, sql: SchemaSql) -> None:
        self._conninfo = conninfo
        self._sql = sql
        self._connection = connect(conninfo, application_name="syncline writer")
        try:
            migrate(self._connection, sql)
            self._lease = Lease(conninfo, sql, self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._is_on_disk = True

    def write(self, work: Callable[[WriteTransaction], _T], *, durable: bool = False, pipelined: bool = False) -> _T:
        """Run `work` in one transaction and return its result. It may run more than once.

        A durable transaction is on disk when this returns, with all before it. Statements of a pipelined one are sent together; it can
        hold no COPY. Raises LeaseLost or StorageUnavailable; nothing is written then.
        """
        result = self._repeated(lambda: self._attempt(work, durable=durable, pipelined=pipelined))
        self._is_on_disk = durable
        return result

    def write_durably(self, statement: str, parameters: Mapping[str, object]) -> Row:
        """Run one statement as a transaction of its own, and return its row.

        The statement itself checks the lease (parameter `epoch`), gives no row where that is another's, and sets `synchronous_commit`.
        """
        with_epoch = {**parameters, "epoch": self._lease.epoch}
        row = self._repeated(lambda: self._connected().execute(self._sql(statement), with_epoch).fetchone())
        if row is None:
            raise LeaseLost("Another replicator has taken over this storage.")
        self._is_on_disk = True
        return row

    def _repeated(self, attempt: Callable[[], _T]) -> _T:
        """The result of an attempt, which is made again after deadlocks and serialization failures."""
        give_up_s = time.monotonic() + RETRY_TIMEOUT_S
        delay_s = 0.01
        with storage_errors():
            while True:
                try:
                    return attempt()
                except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                    if time.monotonic() + delay_s > give_up_s:
                        raise
                    time.sleep(delay_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
                    delay_s = min(delay_s * 2, RETRY_DELAY_MAX_S)

    def sync_to_disk(self) -> None:
        """Return when everything committed is on disk; writes nothing where the newest transaction was durable.

        On storage in the source's own server each write would be news to replication, and the next reason for one.
        """
        if self._is_on_disk:
            if not self.read("SELECT 1 FROM {schema}.lease WHERE epoch = %s", (self._lease.epoch,)):
                raise LeaseLost("Another replicator has taken over this storage.")
        else:
            touch = (
                "UPDATE {schema}.storage_state SET layout = layout"  # a transaction without a change waits for nothing
            )
            self.write(lambda transaction: transaction.execute(touch), durable=True)

    def read(self, statement: str, parameters: tuple[object, ...] = ()) -> list[Row]:
        """Rows of a reading statement, outside any transaction."""
        with storage_errors():
            connection = self._connected()
            return connection.cursor(binary=True).execute(self._sql(statement), parameters or None).fetchall()

    def read_named(self, statement: str, parameters: Mapping[str, object]) -> Row:
        """The only row of a reading statement with named parameters."""
        with storage_errors():
            row = self._connected().execute(self._sql(statement), parameters).fetchone()
        assert row is not None, "the statement has a row"
        return row

    def close(self) -> None:
        """Release the lease and close."""
        self._lease.release(self._connection)
        self._connection.close()

    def _attempt(self, work: Callable[[WriteTransaction], _T], *, durable: bool, pipelined: bool) -> _T:
        connection = self._connected()
        begin = _BEGIN.format(durability="on" if durable else "off", epoch=self._lease.epoch)
        try:
            cursor = connection.execute(self._sql(begin))
            while cursor.nextset():
                pass
            row = cursor.fetchone()
            if row is None:
                raise LeaseLost("Another replicator has taken over this storage.")
            with connection.pipeline() if pipelined else nullcontext():
                result = work(WriteTransaction(connection, self._sql, row[0]))
                connection.execute("COMMIT")
        except BaseException:
            self._roll_back(connection)
            raise
        return result

    def _roll_back(self, connection: psycopg.Connection[Row]) -> None:
        """Leave no transaction open; a connection that cannot be asked for that is thrown away."""
        try:
            if connection.info.transaction_status is not pq.TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()

    def _connected(self) -> psycopg.Connection[Row]:
        if self._lease.lost:  # reading too: who has lost it must not act upon what it reads
            raise LeaseLost("Another replicator has taken over this storage.")
        if self._connection.closed or self._connection.broken:
            connection = connect(self._conninfo, application_name="syncline writer")
            try:
                self._lease.take_along(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._is_on_disk = (
                False  # what came before may be lost with a server that crashed: the next durable commit tells
            )
        return self._connection
