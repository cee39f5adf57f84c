"""Our engine and the official core on a database each, fed the same events, compared after each."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apsw
import msgspec

from syncline.client.checkpoint_ids import CheckpointIds
from syncline.client.core import events as ev
from syncline.client.core import instructions as do
from syncline.client.core.checkpoint import Applied
from syncline.client.core.machine import SyncMachine
from syncline.client.local import layout
from syncline.client.local.clearing import clear, trigger_resync
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.local.local_connection import LocalConnection
from syncline.client.local.migrations import bring_down
from syncline.client.schema import Schema
from syncline.client.subscription_store import SubscriptionStore
from syncline.client.sync_engine import SyncEngine
from syncline.errors import RemoteProtocolError
from tests.interop.core_events import Event
from tests.interop.core_schemas import RAW_TABLES_SQL, SCHEMAS
from tests.interop.native_core import NativeCore, schema_json

__all__ = ["INTERNAL", "Images", "Pair", "rows"]

_HELD = (("mine", "null"),)
_MINUTE_US = 60_000_000
_TARGET = "target_checkpoint_request_id"

INTERNAL = {
    "ps_buckets": "SELECT name, last_applied_op, last_op, add_checksum, op_checksum, pending_delete, count_at_last,"
    " count_since_last, downloaded_size FROM ps_buckets ORDER BY name",
    "ps_oplog": "SELECT b.name, o.op_id, o.row_type, o.row_id, o.key, o.data, o.hash"
    " FROM ps_oplog o JOIN ps_buckets b ON b.id = o.bucket ORDER BY 1, 2, 5",
    "ps_updated_rows": "SELECT row_type, row_id FROM ps_updated_rows ORDER BY 1, 2",
    "ps_untyped": "SELECT type, id, data FROM ps_untyped ORDER BY type, id",
    "ps_sync_state": "SELECT priority, last_synced_at > 0 FROM ps_sync_state ORDER BY 1",
    "ps_kv": "SELECT key, CAST(value AS INTEGER) FROM ps_kv WHERE key GLOB '*_checkpoint_request_id' ORDER BY key",
    # Transactions by their order: the core takes an id when a transaction writes first, we take one for each.
    "ps_crud": "SELECT id, data, dense_rank() OVER (ORDER BY tx_id) FROM ps_crud ORDER BY id",
    # Times by the minute, seen from now: the core has a clock of its own.
    "ps_stream_subscriptions": "SELECT stream_name, active, is_default, local_priority, local_params, ttl,"
    f" (expires_at - (SELECT now FROM temp.clock) + {_MINUTE_US // 2}) / {_MINUTE_US}, last_synced_at IS NOT NULL"
    " FROM ps_stream_subscriptions ORDER BY id",
}


def rows(connection: apsw.Connection, query: str) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return connection.execute(query).fetchall()


def now_us(connection: apsw.Connection) -> int:
    """The time by SQLite's clock, which the core goes by."""
    [(value,)] = rows(connection, "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)")
    return int(value)


class Images:
    """Two prepared databases as bytes: made once, and copied for every sequence."""

    def __init__(self, library: Path) -> None:
        self.library = library
        core = NativeCore(library, SCHEMAS[0])
        for sql in RAW_TABLES_SQL:
            core.connection.execute(sql)
        core.capture(SCHEMAS[0])
        self.core = core.connection.serialize("main")
        core.connection.close()
        ours = open_writer(":memory:")
        for sql in RAW_TABLES_SQL:
            ours.execute(sql)
        layout.prepare(ours, SCHEMAS[0])
        self.ours = ours.serialize("main")
        ours.close()


class _WatchedMachine(SyncMachine):
    """Notes when a checkpoint became visible, which the core tells with an instruction of its own."""

    completed = 0

    def receive(self, event: ev.Event) -> list[do.Instruction]:
        if isinstance(event, ev.CheckpointApplied) and event.priority is None and isinstance(event.result, Applied):
            self.completed += 1
        return super().receive(event)


class Pair:
    """Both sides. `play` returns whether the stream has to be opened anew.

    With `requests` the device numbers its checkpoint requests, and the service only remembers the highest; without, the service counts.
    """

    def __init__(self, images: Images, *, requests: bool = False) -> None:
        self.requests = requests
        self.service_number = 0  # the highest number of this device that the service has heard
        self.core = NativeCore(images.library, SCHEMAS[0], image=images.core)
        self.ours = open_writer(":memory:")
        self.ours.deserialize("main", images.ours)
        self.schema = SCHEMAS[0]
        assert isinstance(self.ours, LocalConnection)
        self.ours.raw_tables = self.schema.raw_tables  # as layout.prepare leaves it; it was called for the image
        for connection in (self.ours, self.core.connection):
            connection.execute("CREATE TEMP TABLE clock(now)")
            connection.execute("INSERT INTO temp.clock VALUES (0)")
            connection.execute("UPDATE ps_kv SET value = 'one' WHERE key = 'client_id'")
        self.held: tuple[tuple[str, str], ...] = _HELD
        self.seen: Counter[str] = Counter()  # kinds of instructions, and what became of local writes
        self.start()

    def close(self) -> None:
        """Give the memory back."""
        self.ours.close()
        self.core.connection.close()

    # -- iterations

    def start(self) -> None:
        """Open a stream on both."""
        self.machine = _WatchedMachine(client_id="one", parameters={})
        self.engine = SyncEngine(
            self.ours,
            self.machine,
            client_id=lambda: "one",
            now_us=lambda: now_us(self.ours),
            active_streams=lambda: self.held,
        )
        start: dict[str, Any] = {
            "schema": json.loads(schema_json(self.schema)),
            "parameters": {},
            "active_streams": self._held_json(),
            "checkpoint_mode": "requests" if self.requests else "legacy",
        }
        theirs = self.core.control("start", _compact(start))
        ours = self.engine.start()
        self._compare_requests(ours, theirs)
        if self.requests:
            self._seed(theirs)

    def _seed(self, theirs: list[dict[str, Any]]) -> None:
        """The number of the device goes to the service, and the service's own comes back."""
        [asked] = [
            entry["EstablishSyncStream"]["checkpoint_request"] for entry in theirs if "EstablishSyncStream" in entry
        ]
        ids = CheckpointIds(self.ours)
        assert asked == {"client_id": "one", "checkpoint_request_id": str(ids.to_seed())}
        self.service_number = max(self.service_number, ids.to_seed())
        self.core.in_transaction("SELECT powersync_control('seed_checkpoint_request_id', ?)", self.service_number)
        with write_transaction(self.ours, local_writes=False):
            ids.seed(self.service_number)

    def stop(self) -> None:
        """Close it."""
        self.core.control("stop")
        self.engine.receive(ev.Stopped())

    def _held_json(self) -> list[dict[str, Any]]:
        return [{"name": stream, "params": json.loads(params)} for stream, params in self.held]

    def _compare_requests(self, ours: list[do.EdgeInstruction], theirs: list[dict[str, Any]]) -> None:
        [request] = [instruction.request for instruction in ours if isinstance(instruction, do.OpenStream)]
        [expected] = [entry["EstablishSyncStream"]["request"] for entry in theirs if "EstablishSyncStream" in entry]
        found = json.loads(msgspec.json.encode(request))
        for key in ("include_checksum", "raw_data", "client_id", "parameters", "streams"):
            assert found.get(key, {}) == expected.get(key), key
        by_name = {bucket["name"]: bucket["after"] for bucket in found.get("buckets", [])}
        assert by_name == {bucket["name"]: bucket["after"] for bucket in expected["buckets"]}

    # -- events

    def play(self, event: Event) -> bool:
        """One event on both; the kinds of instructions have to be the same."""
        handler: Callable[[Event], bool] = getattr(self, "_" + event.kind.replace(" ", "_"), self._line)
        return handler(event)

    def _line(self, event: Event) -> bool:
        return self._text(_compact(event.line))

    def _diff_and_complete(self, event: Event) -> bool:
        closed = self._line(event)
        return closed or self._line(Event("complete", line=event.more))

    def _broken_line(self, event: Event) -> bool:
        return self._text(event.more)

    def _text(self, text: str) -> bool:
        def ours() -> list[do.EdgeInstruction]:
            try:
                return self.engine.lines([text.encode()])
            except RemoteProtocolError as exc:
                return self.engine.receive(ev.StreamFailed(exc))

        return self._both(ours, lambda: self.core.control("line_text", text))

    def _established(self, _: Event) -> bool:
        return self._both(
            lambda: self.engine.receive(ev.ConnectionOpened()), lambda: self.core.control("connection", "established")
        )

    def _stream_ends(self, _: Event) -> bool:
        return self._both(lambda: self.engine.receive(ev.StreamEnded()), lambda: self.core.control("connection", "end"))

    def _token_refreshed(self, _: Event) -> bool:
        return self._both(
            lambda: self.engine.receive(ev.TokenRefreshed()), lambda: self.core.control("refreshed_token")
        )

    def _both(self, ours: Callable[[], list[do.EdgeInstruction]], theirs: Callable[[], list[dict[str, Any]]]) -> bool:
        before = self.machine.completed
        mine = [kind for instruction in ours() if (kind := _kind(instruction))]
        mine += ["DidCompleteSync"] * (self.machine.completed - before)
        try:
            expected = [kind for instruction in theirs() if (kind := _core_kind(instruction))]
        except (apsw.AbortError, apsw.MisuseError) as exc:
            if not any(words in str(exc) for words in ("Sync protocol error", "without previous checkpoint")):
                raise
            expected = ["CloseSyncStream"]
        assert sorted(mine) == sorted(expected), f"instructions: ours {mine}, the core's {expected}"
        if "FetchCredentials False" in mine and hasattr(ev, "TokenPrefetchFailed"):
            # Ours asks once until it has an answer, the core at every keepalive: with this answer they are alike.
            self.engine.receive(ev.TokenPrefetchFailed())
        self.seen.update(expected)
        return any(kind.startswith("CloseSyncStream") for kind in expected)

    # -- the app

    def _local(self, event: Event) -> bool:
        self._statements(event.statements, commit=True)
        return False

    def _rolled_back(self, event: Event) -> bool:
        self._statements(event.statements, commit=False)
        return False

    def _statements(self, statements: Iterable[str], *, commit: bool) -> None:
        """One write transaction on both, with the same errors."""
        transaction = contextlib.ExitStack()
        transaction.enter_context(write_transaction(self.ours))
        self.core.connection.execute("BEGIN IMMEDIATE")
        for sql in statements:
            theirs = _attempt(self.core.connection, sql)
            assert (_attempt(self.ours, sql) is None) == (theirs is None), sql
            self.seen["refused statement" if theirs else "statement"] += 1
        if commit:
            transaction.close()
            self.core.connection.execute("COMMIT")
            return
        with contextlib.suppress(_UndoneError), transaction:
            raise _UndoneError
        self.core.connection.execute("ROLLBACK")

    def _upload(self, event: Event) -> bool:
        """Complete everything, ask for a write checkpoint, and tell both that the upload is done."""
        assert event.number is not None
        queue = CrudQueue(self.ours)
        if queue.is_empty() and queue.target() is None:
            return False
        number = self._take_number() if self.requests else event.number
        with write_transaction(self.ours, local_writes=False):
            queue.complete(queue.sequence() or 0, number)
        self.core.connection.execute("DELETE FROM ps_crud")
        self.core.in_transaction("SELECT powersync_control('target_checkpoint_request_id', ?)", number)
        return self._both(self.engine.upload_finished, lambda: self.core.control("completed_upload"))

    def _take_number(self) -> int:
        """The next request of the device, and the service hears it."""
        theirs = self.core.in_transaction("SELECT powersync_control('next_checkpoint_request_id', NULL)")
        with write_transaction(self.ours, local_writes=False):
            taken = CheckpointIds(self.ours).take()
        assert taken == theirs
        self.seen["checkpoint request"] += 1
        self.service_number = taken
        return taken

    def _part_of_an_upload(self, event: Event) -> bool:
        """Complete the first entry; a write checkpoint of the backend counts where nothing else is queued."""
        queue = CrudQueue(self.ours)
        first = queue.next_transaction()
        if first is None:
            return False
        last = first.entries[0].client_id
        with write_transaction(self.ours, local_writes=False):
            queue.complete(last, event.number)
        self.core.connection.execute("DELETE FROM ps_crud WHERE id <= ?", (last,))
        empty = not rows(self.core.connection, "SELECT 1 FROM ps_crud")
        self._set_core_target(event.number if empty and event.number else 2**63 - 1)
        return False

    def _set_core_target(self, value: int) -> None:
        self.core.connection.execute("INSERT OR REPLACE INTO ps_kv(key, value) VALUES (?, ?)", (_TARGET, value))

    # -- streams

    def _subscribe(self, event: Event) -> bool:
        stream = {"name": event.stream, "params": json.loads(event.params)}
        command: dict[str, Any] = {"stream": stream}
        if event.more is not None:
            command["ttl"] = event.more
        if event.number is not None:
            command["priority"] = event.number
        self.core.control("subscriptions", _compact({"subscribe": command}))
        with write_transaction(self.ours, local_writes=False):
            SubscriptionStore(self.ours).subscribe(
                event.stream, event.params, ttl_s=event.more, priority=event.number, now_us=now_us(self.ours)
            )
        return self._streams_changed()

    def _unsubscribe(self, event: Event) -> bool:
        stream = {"name": event.stream, "params": json.loads(event.params)}
        self.core.control("subscriptions", _compact({"unsubscribe": stream}))
        with write_transaction(self.ours, local_writes=False):
            SubscriptionStore(self.ours).unsubscribe(event.stream, event.params)
        return self._streams_changed()

    def _hold_streams(self, event: Event) -> bool:
        self.held = tuple(event.more)
        return self._streams_changed() or self._keepalive_line()

    def _streams_changed(self) -> bool:
        return self._both(
            self.engine.subscriptions_changed,
            lambda: self.core.control("update_subscriptions", _compact(self._held_json())),
        )

    def _time_passes(self, event: Event) -> bool:
        assert event.number is not None
        for connection in (self.ours, self.core.connection):
            connection.execute(
                "UPDATE ps_stream_subscriptions SET expires_at = expires_at - ?", (event.number * 1_000_000,)
            )
        return self._keepalive_line()

    def _keepalive_line(self) -> bool:
        """Both look at their subscriptions: the core at no other moment, ours at some more."""
        return self._line(Event("keepalive", line={"token_expires_in": 300}))

    # -- the file

    def _restart(self, _: Event) -> bool:
        self.service_number += 1  # it may have heard of a number that the device lost with its last commits
        return True

    def _clear(self, event: Event) -> bool:
        flags = event.number or 0
        self.stop()
        self.core.in_transaction("SELECT powersync_clear(?)", flags)
        with write_transaction(self.ours, local_writes=False):
            clear(self.ours, clear_local=bool(flags & 1), soft=bool(flags & 2))
        return True

    def _resync(self, event: Event) -> bool:
        self.stop()
        self.core.in_transaction("SELECT powersync_trigger_resync(?)", event.number)
        with write_transaction(self.ours, local_writes=False):
            trigger_resync(self.ours, clear_progress=bool(event.number))
        return True

    def _schema_change(self, event: Event) -> bool:
        self.stop()
        self.set_schema(SCHEMAS[event.number or 0])
        return True

    def set_schema(self, schema: Schema) -> None:
        """Open both with another schema."""
        for name, table in rows(
            self.core.connection, "SELECT name, tbl_name FROM sqlite_master WHERE name GLOB 'capture_*'"
        ):
            if table not in {raw.table_name for raw in schema.raw_tables if raw.capture}:
                self.core.connection.execute(f"DROP TRIGGER {name}")
        self.schema = schema
        self.core.replace_schema(schema)
        self.core.capture(schema)
        layout.prepare(self.ours, schema)
        query = (
            "SELECT type, name, sql FROM sqlite_master WHERE type <> 'trigger'"
            " AND name NOT GLOB 'sqlite_*' AND name NOT IN ('powersync_crud', 'powersync_crud_') ORDER BY 1, 2"
        )
        assert rows(self.ours, query) == rows(self.core.connection, query)

    def _migration(self, event: Event) -> bool:
        """Down to an older version and up again, each side by its own statements."""
        version = event.number or 0
        self.stop()
        self.core.migrate(version)
        self.core.migrate(14)
        with write_transaction(self.ours, local_writes=False):
            assert bring_down(self.ours, 14, version) == version
        self.set_schema(self.schema)
        return True

    # -- comparing

    def compare(self) -> None:
        """Every table, internal or with rows of the app."""
        now = now_us(self.ours)
        for connection in (self.ours, self.core.connection):
            connection.execute("UPDATE temp.clock SET now = ?", (now,))
        query = _everything(self.schema)
        ours, theirs = rows(self.ours, query), rows(self.core.connection, query)
        if ours != theirs:
            mine, others = [row for row in ours if row not in theirs], [row for row in theirs if row not in ours]
            raise AssertionError(f"only here {mine}; only in the core {others}")


class _UndoneError(Exception):
    """Rolls a transaction back."""


def _compact(value: object) -> str:
    # Parameters are compared as text: a space would make another subscription.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _attempt(connection: apsw.Connection, sql: str) -> str | None:
    try:
        connection.execute(sql).fetchall()
    except apsw.Error as exc:
        return str(exc)
    return None


_queries: dict[int, str] = {}


def _everything(schema: Schema) -> str:
    """One statement for all tables: 60 of these comparisons make a sequence."""
    found = _queries.get(id(schema))
    if found is None:
        tables = [table.internal_name for table in schema.tables] + ["places", "stored_people", "visits"]
        queries = INTERNAL | {table: f'SELECT * FROM "{table}" ORDER BY id' for table in tables}
        columns = 9
        parts: list[str] = []
        for name, query in queries.items():
            count = _width(name, query)
            padding = ", NULL" * (columns - count)
            parts.append(f"SELECT '{name}', q.*{padding} FROM ({query}) AS q")
        found = _queries[id(schema)] = " UNION ALL ".join(parts)
    return found


def _width(name: str, query: str) -> int:
    widths = {"ps_buckets": 9, "ps_oplog": 7, "ps_stream_subscriptions": 8, "places": 5}
    widths |= {"ps_untyped": 3, "ps_crud": 3, "stored_people": 3, "visits": 3}
    assert query
    return widths.get(name, 2)


def _kind(instruction: do.EdgeInstruction) -> str | None:
    match instruction:
        case do.CloseStream(hide_disconnect=hidden):
            return "CloseSyncStream hidden" if hidden else "CloseSyncStream"
        case do.FetchCredentials(expired):
            return f"FetchCredentials {expired}"
        case do.OpenStream():
            return "EstablishSyncStream"
        case _:
            return None


def _core_kind(instruction: dict[str, Any]) -> str | None:
    [(name, body)] = instruction.items()
    if name == "CloseSyncStream":
        return "CloseSyncStream hidden" if body["hide_disconnect"] else "CloseSyncStream"
    if name == "FetchCredentials":
        return f"FetchCredentials {body['did_expire']}"
    return name if name in ("EstablishSyncStream", "DidCompleteSync") else None
