"""Reading the replication stream: START_REPLICATION through libpq, in batches of what is at hand.

Drain `get_copy_data` until it would block, then wait for readability, then consume: any other order loses data or spins.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncGenerator, Sequence

import psycopg
from psycopg import pq

from syncline.errors import RemoteProtocolError, SlotLost, SourceNotReady, SourceUnavailable
from syncline.metrics import ServiceMetrics
from syncline.replication.postgres.catalog import TypeCatalog
from syncline.replication.postgres.connection import PUBLICATION_HINT, Row
from syncline.replication.postgres.head import MARKER_CONTENT, MARKER_PREFIX
from syncline.replication.postgres.lsn import lsn_number, lsn_text
from syncline.replication.postgres.pgoutput import (
    Begin,
    Commit,
    LogicalMessage,
    Message,
    RelationMessage,
    RowMessage,
    Truncate,
    TupleDecoder,
    decode_message,
    make_tuple_decoder,
)
from syncline.replication.source import (
    ChangeKind,
    Column,
    Marker,
    Relation,
    RelationChanged,
    RowChange,
    SourceEvent,
    TransactionEnd,
)
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.value_format import ValueFormat

__all__ = ["ReplicationStream"]

BATCH_EVENTS_MAX = 4000  # events of one batch: bounds memory, and how long a commit waits behind others
BATCH_BYTES_MAX = 8_000_000  # bytes of messages of one batch, the last one on top: bounds memory where rows are large
ASK_AFTER_SILENCE_S = 2.0  # seconds without a byte of the source, after which each feedback asks for an answer
SILENCE_MAX_S = 8.0  # seconds without a byte, although we asked: the connection is dead, whatever the kernel thinks
START_TIMEOUT_S = 30.0  # seconds until the source begins to stream
NUDGE_AFTER_S = 0.05  # seconds of silence after data, upon which one feedback is sent; see `events`
FEEDBACK_INTERVAL_S = 10.0  # seconds between status updates; the source gives up after wal_sender_timeout (60 s)

_POSTGRES_EPOCH_S = 946_684_800
_u64 = struct.Struct(">Q").unpack_from
_KINDS = {"I": ChangeKind.INSERT, "U": ChangeKind.UPDATE, "D": ChangeKind.DELETE}
_NOT_IN_PREREQUISITE_STATE = "55000"
_XLOG_DATA, _KEEPALIVE = ord("w"), ord("k")
_XLOG_HEADER_BYTES = 25  # kind, start, end, time
_KEEPALIVE_REPLY_AT = 17


class ReplicationStream:
    """One walsender's stream. `lookups` is another connection, for types that the stream names."""

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Row],
        lookups: psycopg.AsyncConnection[Row],
        *,
        patterns: Sequence[TablePattern],
        catalog: TypeCatalog,
        value_format: ValueFormat,
        ignored_schema: str,
        metrics: ServiceMetrics,
    ) -> None:
        self._pgconn = connection.pgconn
        connection.add_notice_handler(self._hear_notice)
        self._lookups = lookups
        self._patterns = patterns
        self._catalog = catalog
        self._value_format = value_format
        self._ignored_schema = ignored_schema
        self._metrics = metrics
        self._decoders: dict[int, TupleDecoder] = {}
        self._relations: dict[int, Relation] = {}
        self._key_indexes: dict[int, tuple[int, ...]] = {}
        self._in_transaction = False
        self._commit_position = ""  # of the transaction at hand
        self._transaction = 0  # its id
        self._has_changes = False  # the transaction at hand, of tables that are followed
        self._has_marker = False  # the transaction at hand, one of ours
        self._acknowledged = 0
        self._feedback_due = True
        self._feedback_sent_s = 0.0
        self._heard_s = 0.0
        self._ask = False
        self._ended = False
        self._publication_gap = ""  # what the source said when it decoded changes without the publication

    def acknowledge(self, position: str) -> None:
        """Everything up to here is on disk; told with the next feedback."""
        self._acknowledged = max(self._acknowledged, lsn_number(position))
        self._feedback_due = True

    async def start(self, slot_name: str, publication: str, after: str) -> None:
        """Begin to stream. Raises SlotLost, SourceNotReady or SourceUnavailable."""
        position = lsn_number(after) if after else 0
        command = (
            f'START_REPLICATION SLOT "{slot_name}" LOGICAL {position >> 32:X}/{position & 0xFFFFFFFF:X} '
            f"(proto_version '1', publication_names '\"{publication}\"', messages 'true')"
        )
        self._pgconn.nonblocking = 1
        self._pgconn.send_query(command.encode())
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self._pgconn.flush() or self._pgconn.is_busy():
            await self._readable(FEEDBACK_INTERVAL_S)
            self._pgconn.consume_input()
            if time.monotonic() > deadline_s:
                raise SourceUnavailable(f"The source did not begin to stream within {START_TIMEOUT_S:.0f} s.")
        result = self._pgconn.get_result()
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            raise _start_error(result)

    async def events(self) -> AsyncGenerator[list[SourceEvent]]:
        """Batches of events, until the source ends the stream (then SourceUnavailable).

        A walsender that has just sent something can miss that more was written (it looks before it lies down to sleep), and would
        sleep on until it hears anything, so it hears from us once after each burst.
        """
        self._heard_s = time.monotonic()
        may_oversleep = True
        while True:
            batch: list[SourceEvent] = []
            drained, size = await self._drain(batch)
            if size:
                self._metrics.replicated(chunks=1, data_bytes=size)
            if self._publication_gap:
                raise SlotLost(f"Changes were passed over: {self._publication_gap}")
            if batch:
                yield batch
            if self._ended:
                raise self._end_error()
            self._send_feedback_if_due()
            if drained:
                if await self._readable(NUDGE_AFTER_S if may_oversleep else FEEDBACK_INTERVAL_S):
                    self._pgconn.consume_input()
                    self._heard_s = time.monotonic()
                    may_oversleep = True
                else:
                    may_oversleep = False
                    self._feedback_due = True
                    self._check_silence()

    async def _drain(self, batch: list[SourceEvent]) -> tuple[bool, int]:
        """Take what libpq holds: whether that is all (else the batch is full), and its bytes."""
        batch_bytes = 0
        while len(batch) < BATCH_EVENTS_MAX and batch_bytes < BATCH_BYTES_MAX:
            size, view = self._pgconn.get_copy_data(1)
            if size == 0:
                return True, batch_bytes
            if size < 0:
                self._ended = True
                return True, batch_bytes
            data = bytes(view)
            batch_bytes += size
            if data[0] == _XLOG_DATA:
                message = decode_message(data, _XLOG_HEADER_BYTES, self._decoders)
                if isinstance(message, RelationMessage):
                    await self._define(message, batch)
                elif message is not None:
                    self._take(message, batch)
            elif data[0] == _KEEPALIVE:
                if data[_KEEPALIVE_REPLY_AT]:
                    self._feedback_due = True
                if not self._in_transaction:
                    batch.append(Marker(lsn_text(_u64(data, 1)[0]), ours=False))
            else:
                raise RemoteProtocolError(f"unknown replication message {chr(data[0])!r}")
        return False, batch_bytes

    def _hear_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        """Postgres 18 only warns where changes were made while there was no publication; older ones end the stream."""
        text = notice.message_primary or ""
        if notice.sqlstate == _NOT_IN_PREREQUISITE_STATE and "publication" in text:
            self._publication_gap = text

    def _take(self, message: Message, batch: list[SourceEvent]) -> None:
        if isinstance(message, RowMessage):
            self._has_changes = True
            batch.append(self._row_change(message))
        elif isinstance(message, Begin):
            self._in_transaction, self._has_changes, self._has_marker = True, False, False
            self._commit_position, self._transaction = lsn_text(message.final_lsn), message.transaction
        elif isinstance(message, Commit):
            self._in_transaction = False
            batch.append(self._end_of_transaction(message))
        elif isinstance(message, Truncate):
            truncated = [
                RowChange(ChangeKind.TRUNCATE, self._relations[relation_id], None)
                for relation_id in message.relation_ids
                if relation_id in self._relations
            ]
            self._has_changes = self._has_changes or bool(truncated)
            batch += truncated
        elif isinstance(message, LogicalMessage):
            ours = message.prefix == MARKER_PREFIX and message.content == MARKER_CONTENT
            if ours and message.transactional:
                self._has_marker = True  # counts at its commit
            elif ours and not self._in_transaction:
                batch.append(Marker(lsn_text(message.lsn), ours=True))

    def _end_of_transaction(self, commit: Commit) -> TransactionEnd | Marker:
        """Its event. Without changes of followed tables it is a sign of life and no more.

        Bucket storage in this database commits too, and a checkpoint for each of its commits would be the reason for the next one.
        """
        position = lsn_text(commit.end_lsn)
        if self._has_changes:
            return TransactionEnd(position, commit.commit_time_ms, self._transaction)
        return Marker(position, ours=self._has_marker)

    def _row_change(self, message: RowMessage) -> RowChange:
        old_key = None
        if message.old is not None:
            old = message.old
            old_key = tuple([old[index] for index in self._key_indexes[message.relation_id]])
        relation = self._relations[message.relation_id]
        return RowChange(_KINDS[message.kind], relation, message.new, old_key)  # type: ignore[arg-type]  # old rows are whole

    async def _define(self, message: RelationMessage, batch: list[SourceEvent]) -> None:
        """A table's definition: look up its types, generate its decoder, tell the job."""
        self._decoders.pop(message.id, None)
        self._relations.pop(message.id, None)
        followed = any(pattern.matches(message.schema, message.name) for pattern in self._patterns)
        if not followed or message.schema == self._ignored_schema:
            return
        await self._catalog.load(self._lookups, [type_id for _, type_id, _ in message.columns])
        types = self._catalog.types
        relation = Relation(
            id=message.id,
            schema=message.schema,
            name=message.name,
            columns=tuple(
                Column(
                    name,
                    type_id,
                    types[type_id].name if type_id in types else str(type_id),
                    in_key=in_key,
                    toastable=type_id not in types or types[type_id].toastable,
                )
                for name, type_id, in_key in message.columns
            ),
        )
        self._relations[message.id] = relation
        self._key_indexes[message.id] = tuple(i for i, column in enumerate(relation.columns) if column.in_key)
        self._decoders[message.id] = make_tuple_decoder(
            [column.type_id for column in relation.columns], types, self._value_format
        )
        batch.append(RelationChanged(relation, self._commit_position))

    def _check_silence(self) -> None:
        """A peer whose bytes are dropped on the way closes nothing: only asking finds out."""
        silent_s = time.monotonic() - self._heard_s
        if silent_s > SILENCE_MAX_S:
            raise SourceUnavailable(
                f"The source has been silent for {silent_s:.0f} s, although it was asked to answer."
            )
        self._ask = silent_s >= ASK_AFTER_SILENCE_S

    def _send_feedback_if_due(self) -> None:
        now_s = time.monotonic()
        if not self._feedback_due and now_s - self._feedback_sent_s < FEEDBACK_INTERVAL_S:
            return
        self._feedback_due, self._feedback_sent_s = False, now_s
        clock_us = int((time.time() - _POSTGRES_EPOCH_S) * 1_000_000)
        position = self._acknowledged
        self._pgconn.put_copy_data(b"r" + struct.pack(">QQQqB", position, position, position, clock_us, self._ask))
        self._ask = False
        self._pgconn.flush()

    async def _readable(self, timeout_s: float) -> bool:
        """Wait until the socket can be read, or there is something to acknowledge."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        descriptor = self._pgconn.socket
        loop.add_reader(descriptor, lambda: ready.done() or ready.set_result(None))
        try:
            async with asyncio.timeout(min(timeout_s, 1.0)):
                await ready
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)
        return True

    def _end_error(self) -> Exception:
        result = self._pgconn.get_result()
        text = _error_text(result) or "the connection was closed"
        if "no longer" in text or "invalidated" in text or ("publication" in text and "does not exist" in text):
            return SlotLost(f"The source has ended the replication stream: {text}")
        return SourceUnavailable(f"The source has ended the replication stream: {text}")


def _error_text(result: pq.abc.PGresult | None) -> str:
    if result is None:
        return ""
    message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
    return message.decode(errors="replace") if message else ""


def _start_error(result: pq.abc.PGresult | None) -> Exception:
    text = _error_text(result)
    if "publication" in text and "does not exist" in text:
        return SourceNotReady(text, hint=PUBLICATION_HINT)
    if "does not exist" in text or "no longer" in text or "can no longer" in text or "invalidated" in text:
        return SlotLost(f"The replication slot cannot be used: {text}")
    return SourceUnavailable(f"The source does not stream: {text or 'no answer'}")
