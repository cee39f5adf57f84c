"""Many database transactions in one go: all are sent before the first answer is read, and each commits on its own.

A client transaction alone costs a round trip for each statement and waits for the disk while nothing else is asked of the connection. In a
pipeline the server has the next one at hand when a COMMIT returns.

**Why no later transaction commits where an earlier one did not.** A pipeline has one Sync, at its end, and each transaction its own BEGIN
and COMMIT. When a statement fails, a COMMIT among them, the server reads and drops everything up to the Sync: no later transaction begins.
What was committed before stays committed (libpq's manual, "Pipeline Mode", says both). So of a pipeline there is always committed a prefix
and nothing else: also where the connection is lost, or a statement is cancelled, for the server works off what it has received in order. It
does not speculate: a transaction begins when its predecessor has been committed. Poolers that share connections by transaction give one
back at the Sync, and so keep a pipeline together.

Here and not through `psycopg.Connection.pipeline`: its cursors cost more than the server's own work.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
from psycopg import pq

from syncline.backend.limits import PREPARED_STATEMENTS_MAX

__all__ = [
    "CANCEL_SECONDS_MAX",
    "FLUSHED_TRANSACTIONS",
    "Command",
    "Pipeline",
    "PipelineOutcome",
    "PipelinedTransaction",
    "Query",
    "fails_as",
]

FLUSHED_TRANSACTIONS = 10  # transactions after which the server sends the answers that it has gathered
CANCEL_SECONDS_MAX = 5.0  # seconds for the server to end what it was told to cancel; then the connection is closed
_PREPARED_FROM_USES = 3  # uses after which a statement is prepared: rare ones are not worth a place

_names = itertools.count(1)

Connection = psycopg.AsyncConnection[Any]
_Names = OrderedDict["Query", bytes]  # prepared statements of a connection, the least used first


def fails_as(reason: str) -> str:
    """An SQL expression that fails with `reason` in the server's log; `concat` is no constant, so no planner evaluates it early."""
    return f"CAST(concat('syncline: {reason}') AS integer)"


class Query:
    """A statement with `$1`, `$2`, … for its parameters, which are texts."""

    __slots__ = ("text", "uses")

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.uses = 0


class Command(NamedTuple):
    """One execution of a statement."""

    query: Query
    parameters: Sequence[bytes | None] = ()


class PipelinedTransaction(NamedTuple):
    """What stands between BEGIN and COMMIT. Transactions of one `device` (user, client id) wait for each other."""

    commands: Sequence[Command]
    device: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class PipelineOutcome:
    """How far a pipeline got: its first `committed` transactions have been committed, and no other one unless the end is not known.

    `sqlstate` is what the next one failed with. The end is not known where the connection was `lost`, or the next one was `late` and could
    not be cancelled in time.
    """

    committed: int
    sqlstate: str | None = None
    lost: bool = False
    late: bool = False


_BEGIN, _COMMIT = Query("BEGIN"), Query("COMMIT")
# The lock that `uploads.claim_upload` takes.
_LOCK = Query("SELECT pg_advisory_xact_lock(hashtextextended($1::text || '/' || $2::text, 0))")


class Pipeline:
    """Runs pipelines over connections of a pool, and knows what is prepared on each. With `prepares` False nothing ever is."""

    def __init__(self, *, prepares: bool = True) -> None:
        self._prepares = prepares
        self._prepared: WeakKeyDictionary[Connection, _Names] = WeakKeyDictionary()

    async def run(
        self, connection: Connection, transactions: Sequence[PipelinedTransaction], *, seconds_max: float
    ) -> PipelineOutcome:
        """Run transactions in order until one fails. The connection must be idle. `seconds_max` is for FLUSHED_TRANSACTIONS of them.

        Where the end is not known, or on cancellation, the connection comes back usable or closed.
        """
        conversation = _Conversation(connection)
        whole = [_whole(transaction) for transaction in transactions]
        known = self._prepared.setdefault(connection, OrderedDict())
        try:
            conversation.begin()
            self._send(conversation, whole, known)
        except psycopg.Error:
            await connection.close()
            return PipelineOutcome(0, lost=True)
        outcome = await self._converse(conversation, connection, seconds_max)
        if outcome.sqlstate == "26000" or not conversation.has_prepared:  # a statement is gone, or was never there
            known.clear()
        return outcome

    def _send(self, conversation: _Conversation, transactions: list[list[Command]], known: _Names) -> None:
        if self._prepares:
            for command in itertools.chain.from_iterable(transactions):
                command.query.uses += 1
                if command.query in known:
                    known.move_to_end(command.query)
                elif command.query.uses >= _PREPARED_FROM_USES:
                    known[command.query] = name = f"syncline_{next(_names)}".encode()
                    conversation.prepare(name, command.query)
            while len(known) > PREPARED_STATEMENTS_MAX:
                conversation.forget(known.popitem(last=False)[1])
            conversation.end_preparation()
        conversation.send(transactions, known)

    @staticmethod
    async def _converse(conversation: _Conversation, connection: Connection, seconds_max: float) -> PipelineOutcome:
        """Read until all has been answered."""
        late = False
        try:
            try:
                async with asyncio.timeout(seconds_max) as deadline:
                    await conversation.finish(deadline, seconds_max)
            except TimeoutError:
                late = True
                await _cancel(conversation, connection)
        except asyncio.CancelledError:
            await _cancel(conversation, connection)
            raise
        finally:
            conversation.leave()
        if conversation.is_lost:
            await connection.close()
        elif conversation.sqlstate is not None and not connection.closed:
            await _roll_back(connection)
        return PipelineOutcome(
            conversation.committed,
            sqlstate=conversation.sqlstate,
            lost=conversation.is_lost and not late,
            late=late,
        )


async def _cancel(conversation: _Conversation, connection: Connection) -> None:
    """Have the server give up the transaction that it is in, and so all behind it. Else close the connection."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS_MAX):
            await connection.cancel_safe(timeout=CANCEL_SECONDS_MAX)
            await conversation.finish()
    except (TimeoutError, psycopg.Error):
        await connection.close()


async def _roll_back(connection: Connection) -> None:
    """End the transaction that failed; a connection that cannot is closed."""
    try:
        await connection.rollback()
    except psycopg.Error:
        await connection.close()


def _whole(transaction: PipelinedTransaction) -> list[Command]:
    lock: list[Command] = []
    if transaction.device is not None:
        lock.append(Command(_LOCK, [text.encode() for text in transaction.device]))
    return [Command(_BEGIN), *lock, *transaction.commands, Command(_COMMIT)]


class _Conversation:
    """One pipeline on one connection: sends, reads, counts. Results come in the order of commands.

    What is prepared is a segment of its own, with its own Sync: whatever fails there fails again where it is used.
    """

    def __init__(self, connection: Connection) -> None:
        self._pgconn = connection.pgconn
        self._socket = -1
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        self._deadline: asyncio.Timeout | None = None
        self._seconds_max = 0.0
        self._preparing = False  # the segment that is being sent, then read
        self._commands_left: deque[int] = deque()  # of each transaction, until its COMMIT has been answered
        self._writing = False
        self.committed = 0
        self.sqlstate: str | None = None  # of the first transaction that failed
        self.has_prepared = True
        self.is_lost = False

    def begin(self) -> None:
        """Enter pipeline mode. Raises psycopg.Error for a connection that is gone."""
        self._socket = self._pgconn.socket
        self._pgconn.enter_pipeline_mode()

    def prepare(self, name: bytes, query: Query) -> None:
        """Prepare a statement in the first segment."""
        self._preparing = True
        self._pgconn.send_prepare(name, query.text)

    def forget(self, name: bytes) -> None:
        """Give up a prepared statement in the first segment."""
        self._preparing = True
        self._pgconn.send_query_params(b"DEALLOCATE " + name, None)

    def end_preparation(self) -> None:
        """End the first segment, where there is one."""
        if self._preparing:
            self._pgconn.pipeline_sync()

    def send(self, transactions: list[list[Command]], known: _Names) -> None:
        """Send the transactions. Answers come at the end, and some on the way: they show that the server is at work."""
        for number, commands in enumerate(transactions, 1):
            for query, parameters in commands:
                name = known.get(query)
                if name is not None:
                    self._pgconn.send_query_prepared(name, parameters)
                else:
                    self._pgconn.send_query_params(query.text, parameters)
            self._commands_left.append(len(commands))
            if number % FLUSHED_TRANSACTIONS == 0:
                self._pgconn.send_flush_request()
        self._pgconn.pipeline_sync()

    async def finish(self, deadline: asyncio.Timeout | None = None, seconds_max: float = 0.0) -> None:
        """Read to the end; each transaction that ends moves the deadline."""
        self._deadline, self._seconds_max = deadline, seconds_max
        if self._done.is_set():
            return
        self._loop.add_reader(self._socket, self._readable)
        try:
            self._flush()
            await self._done.wait()
        finally:
            self._loop.remove_reader(self._socket)
            if self._writing:
                self._loop.remove_writer(self._socket)
                self._writing = False
            self._deadline = None

    def leave(self) -> None:
        """Leave pipeline mode, where all has been read."""
        if self._done.is_set() and not self.is_lost:
            self._pgconn.exit_pipeline_mode()

    def _flush(self) -> None:
        try:
            unsent = self._pgconn.flush()
        except psycopg.Error:
            self._lose()
            return
        if unsent and not self._writing:
            self._loop.add_writer(self._socket, self._flush)
        elif self._writing and not unsent:
            self._loop.remove_writer(self._socket)
        self._writing = bool(unsent)

    def _readable(self) -> None:
        try:
            committed_before = self.committed
            self._pgconn.consume_input()
            self._take_results()
        except psycopg.Error:
            self._lose()
            return
        if self.committed > committed_before and self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(self._loop.time() + self._seconds_max)

    def _take_results(self) -> None:
        pgconn = self._pgconn
        ended = False  # None ends the results of a command; twice in a row it means that there is nothing more yet
        while not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                if ended:
                    return
                ended = True
                continue
            ended = False
            self._take(result, result.status)
            if self._done.is_set():
                return

    def _take(self, result: pq.abc.PGresult, status: int) -> None:
        if status == pq.ExecStatus.PIPELINE_SYNC:
            if self._preparing:
                self._preparing = False
            else:
                self._done.set()
        elif self._preparing:
            self.has_prepared &= status == pq.ExecStatus.COMMAND_OK
        elif status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
            self._commands_left[0] -= 1
            if self._commands_left[0] == 0:  # its COMMIT
                self._commands_left.popleft()
                self.committed += 1
        elif self.sqlstate is None and status != pq.ExecStatus.PIPELINE_ABORTED:
            state = result.error_field(pq.DiagnosticField.SQLSTATE)
            self.sqlstate = state.decode() if state is not None else "XX000"

    def _lose(self) -> None:
        self.is_lost = True
        self._done.set()
