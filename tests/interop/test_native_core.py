"""The same events to our client database and to the official core: the tables must be equal after each (C5)."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import apsw
import pytest

from syncline.client.core.checkpoint import LocalCheckpoint
from syncline.client.local.buckets import Applied, ApplyResult, Blocked, BucketStore, Mismatch
from syncline.client.local.connection import open_writer, write_transaction
from syncline.client.local.crud_queue import CrudQueue
from syncline.client.local.layout import prepare
from syncline.client.schema import Column, Schema, Table
from syncline.protocol.lines import Checkpoint, CheckpointDiff, DataBatch, decode_line
from tests.interop.native_core import NativeCore, core_library

SEQUENCES = 60
EVENTS = 60  # of one sequence

SCHEMA = Schema(
    [
        Table(
            "lists",
            [Column.text("name"), Column.integer("count"), Column.real("ratio")],
            indexes={"by_name": ["name", "-count"]},
        ),
        Table("todos", [Column.text("title"), Column.text("list_id")], view_name="tasks"),
        Table("drafts", [Column.text("body")], local_only=True),
        Table("logs", [Column.text("message")], insert_only=True),
        Table(
            "tracked",
            [Column.text("b"), Column.integer("a")],
            track_previous=True,
            track_metadata=True,
            ignore_empty_updates=True,
        ),
        Table(
            "changed",
            [Column.text("b"), Column.integer("a")],
            track_previous=["a"],
            track_previous_only_when_changed=True,
        ),
        Table("wide", [Column.text(f"c{i}") for i in range(120)]),
    ]
)

COMPARED = {
    "ps_buckets": "SELECT name, last_applied_op, last_op, add_checksum, op_checksum, pending_delete, count_at_last,"
    " count_since_last, downloaded_size FROM ps_buckets ORDER BY name",
    "ps_oplog": "SELECT b.name, o.op_id, o.row_type, o.row_id, o.key, o.data, o.hash"
    " FROM ps_oplog o JOIN ps_buckets b ON b.id = o.bucket ORDER BY 1, 2, 5",
    "ps_updated_rows": "SELECT * FROM ps_updated_rows",
    "ps_untyped": "SELECT * FROM ps_untyped ORDER BY type, id",
    "ps_sync_state": "SELECT priority FROM ps_sync_state ORDER BY 1",
    "ps_kv": "SELECT key, CAST(value AS INTEGER) FROM ps_kv WHERE key <> 'client_id' ORDER BY key",
    # Transactions by their order: the core takes an id when a transaction writes first, we take one for each.
    "ps_crud": "SELECT id, data, dense_rank() OVER (ORDER BY tx_id) FROM ps_crud ORDER BY id",
    **{table.internal_name: f"SELECT * FROM {table.internal_name} ORDER BY id" for table in SCHEMA.tables},
}


@pytest.fixture(scope="module")
def library() -> Path:
    return core_library()


class Pair:
    """Our database and the core's, fed alike."""

    def __init__(self, library: Path) -> None:
        self.core = NativeCore(library, SCHEMA)
        self.ours = open_writer(":memory:")
        prepare(self.ours, SCHEMA)
        self.store = BucketStore(self.ours)
        self.queue = CrudQueue(self.ours)
        self.checkpoint: LocalCheckpoint | None = None
        self.blocked: LocalCheckpoint | None = None
        self.core.control("start", "{}")

    def restart(self) -> None:
        self.core.control("start", "{}")
        self.checkpoint = self.blocked = None

    def line(self, line: dict[str, Any]) -> ApplyResult | None:
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False)
        self.core.control("line_text", text)
        decoded = decode_line(text)
        result: ApplyResult | None = None
        with write_transaction(self.ours, local_writes=False):
            match decoded:
                case DataBatch():
                    self.store.store(decoded, len(text.encode()))
                case Checkpoint():
                    before = self.checkpoint.buckets if self.checkpoint else {p.name for p in self.store.positions()}
                    self.checkpoint, self.blocked = LocalCheckpoint.of_line(decoded), None
                    self.store.delete_buckets([name for name in before if name not in self.checkpoint.buckets])
                    self._reset_counts()
                case CheckpointDiff():
                    assert self.checkpoint is not None
                    self.checkpoint, self.blocked = self.checkpoint.with_diff(decoded), None
                    self.store.delete_buckets(decoded.removed_buckets)
                    self._reset_counts()
                case _:
                    partial = line.get("partial_checkpoint_complete")
                    result = self._apply(partial["priority"] if partial else None)
        return result

    def _reset_counts(self) -> None:
        assert self.checkpoint is not None
        counts = self.store.counts()
        for name, bucket in self.checkpoint.buckets.items():
            if name in counts and bucket.count < counts[name].at_last + counts[name].since_last:
                self.store.reset_counts()
                return

    def _apply(self, priority: int | None) -> ApplyResult:
        assert self.checkpoint is not None
        result = self.store.apply(self.checkpoint, priority=priority, now_us=1)
        if isinstance(result, Blocked) and priority is None:
            self.blocked = self.checkpoint
        return result

    def local(self, *statements: str) -> None:
        """One write transaction on both."""
        self.core.connection.execute("BEGIN IMMEDIATE")
        for sql in statements:
            self.core.connection.execute(sql)
        self.core.connection.execute("COMMIT")
        with write_transaction(self.ours):
            for sql in statements:
                self.ours.execute(sql)

    def upload(self, write_checkpoint: int) -> None:
        """Complete everything, ask for a write checkpoint, and tell both that the upload is done."""
        with write_transaction(self.ours, local_writes=False):
            last = self.queue.sequence()
            if last is None:
                return
            self.queue.complete(last, write_checkpoint)
        self.core.connection.execute("DELETE FROM ps_crud")
        self.core.connection.execute(
            "INSERT OR REPLACE INTO ps_kv(key, value) VALUES ('target_checkpoint_request_id', ?)", (write_checkpoint,)
        )
        self.core.control("completed_upload")
        checkpoint, self.blocked = self.blocked, None
        if checkpoint is not None and (checkpoint.write_checkpoint or 0) >= write_checkpoint:
            with write_transaction(self.ours, local_writes=False):
                self.store.apply(checkpoint, priority=None, now_us=1)

    def compare(self, seed: int, step: int, event: object) -> None:
        for name, query in COMPARED.items():
            ours, theirs = rows(self.ours, query), rows(self.core.connection, query)
            assert ours == theirs, f"{name} differs with seed {seed} after event {step}: {event}"


def rows(connection: apsw.Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


class Service:
    """What a service could send: it knows the checksum of every bucket, so that most checkpoints are valid."""

    TYPES = ("lists", "todos", "unknown", "tracked")

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.op_id = 0
        self.buckets: dict[str, dict[str, int]] = {}
        self.ready = False
        self.write_checkpoint: int | None = None

    def op(self, totals: dict[str, int]) -> dict[str, Any]:
        chance = self.chance
        self.op_id += chance.choice((1, 1, 3))
        checksum: int | float = chance.choice((0, 1, 7, 2**31, 2**32 - 1, chance.randrange(2**32)))
        kind = chance.choices(("PUT", "REMOVE", "MOVE", "CLEAR"), (70, 20, 6, 4))[0]
        if kind == "CLEAR":
            totals["checksum"] = 0
        totals["checksum"] = (totals["checksum"] + checksum) % 2**32
        totals["count"] += 1
        if chance.random() < 0.2 and checksum >= 2**31:
            checksum -= 2**32
        elif chance.random() < 0.1:
            checksum = float(checksum)
        entry: dict[str, Any] = {"op_id": str(self.op_id), "op": kind, "checksum": checksum}
        if kind in ("PUT", "REMOVE"):
            entry |= {"object_type": chance.choice(self.TYPES), "object_id": str(chance.randrange(6))}
            if chance.random() < 0.5:
                entry["subkey"] = chance.choice(("a", 'b"/c', "é"))
        if kind == "PUT":
            entry["data"] = json.dumps(
                {"name": chance.choice(("x", "ü", '"')), "count": chance.randrange(5), "ratio": 1.5}
            )
        return entry

    def data(self) -> dict[str, Any]:
        name = self.chance.choice(("g#1[]", "g#2[]", 'p["x"]'))
        totals = self.buckets.setdefault(name, {"checksum": 0, "count": 0, "priority": self.chance.randrange(4)})
        ops = [self.op(totals) for _ in range(self.chance.randrange(1, 9))]
        return {"data": {"bucket": name, "data": ops, "after": "0", "next_after": str(self.op_id), "has_more": False}}

    def description(self, name: str) -> dict[str, Any]:
        totals = self.buckets[name]
        wrong = self.chance.random() < 0.04
        signed = (totals["checksum"] + 2**31) % 2**32 - 2**31
        return {
            "bucket": name,
            "checksum": signed ^ 1 if wrong else signed,
            "count": totals["count"],
            "priority": totals["priority"],
        }

    def checkpoint(self) -> dict[str, Any]:
        self.ready = True
        for name in [name for name in self.buckets if self.chance.random() < 0.1]:
            del self.buckets[name]
        body = {
            "last_op_id": str(self.op_id),
            "write_checkpoint": None if self.write_checkpoint is None else str(self.write_checkpoint),
            "buckets": [self.description(name) for name in self.buckets],
            "streams": [],
        }
        return {"checkpoint": body}

    def diff(self) -> dict[str, Any]:
        removed = [name for name in self.buckets if self.chance.random() < 0.1]
        for name in removed:
            del self.buckets[name]
        body = {
            "last_op_id": str(self.op_id),
            "write_checkpoint": None if self.write_checkpoint is None else str(self.write_checkpoint),
            "updated_buckets": [self.description(name) for name in self.buckets],
            "removed_buckets": removed,
        }
        return {"checkpoint_diff": body}

    def complete(self) -> dict[str, Any]:
        if self.chance.random() < 0.4:
            body = {"last_op_id": str(self.op_id), "priority": self.chance.randrange(4)}
            return {"partial_checkpoint_complete": body}
        return {"checkpoint_complete": {"last_op_id": str(self.op_id)}}


def local_statements(chance: random.Random) -> list[str]:
    row = chance.randrange(8)
    number = chance.choice(("1", "1.0", "'1'", "NULL", "-5", "2.5", "9007199254740993"))
    text = chance.choice(("'x'", "NULL", "'ünï \"q\" ''s'''", "json_array(1)", "char(9, 1, 10)"))
    return [
        chance.choice(
            (
                f"INSERT OR REPLACE INTO lists(id, name, count, ratio) VALUES ('{row}', {text}, {number}, {number})",
                f"INSERT OR IGNORE INTO lists(id, name, count) VALUES ('{row}', {text}, {number})",
                f"UPDATE lists SET count = {number}, name = {text} WHERE id = '{row}'",
                f"UPDATE OR IGNORE lists SET ratio = {number} WHERE id = '{row}'",
                f"UPDATE lists SET name = name WHERE id = '{row}'",
                f"DELETE FROM lists WHERE id = '{row}'",
                f"INSERT OR REPLACE INTO tasks(id, title) VALUES ('{row}', {text})",
                f"DELETE FROM tasks WHERE id = '{row}' AND title IS {text}",
                f"INSERT OR REPLACE INTO drafts(id, body) VALUES ('{row}', {text})",
                f"UPDATE drafts SET body = {text}",
                "DELETE FROM drafts",
                f"INSERT INTO logs(id, message) VALUES ('{row}', {text})",
                f"INSERT OR REPLACE INTO tracked(id, a, b, _metadata) VALUES ('{row}', {number}, {text}, {text})",
                f"UPDATE tracked SET a = {number}, _metadata = {text} WHERE id = '{row}'",
                f"UPDATE tracked SET a = a WHERE id = '{row}'",
                f"UPDATE tracked SET _deleted = TRUE, _metadata = {text} WHERE id = '{row}'",
                f"DELETE FROM tracked WHERE id = '{row}'",
                f"INSERT OR REPLACE INTO changed(id, a, b) VALUES ('{row}', {number}, {text})",
                f"UPDATE changed SET a = {number}, b = {text} WHERE id = '{row}'",
                f"DELETE FROM changed WHERE id = '{row}'",
                f"INSERT OR REPLACE INTO wide(id, c3, c99) VALUES ('{row}', {text}, {number})",
                f"UPDATE wide SET c118 = {text}, c4 = {number} WHERE id = '{row}'",
            )
        )
        for _ in range(chance.randrange(1, 4))
    ]


@pytest.mark.requirement(27)
@pytest.mark.parametrize("first", range(0, SEQUENCES, 10))
def test_random_events_leave_the_same_tables_as_the_official_core(library: Path, first: int) -> None:
    kinds: set[type[Any]] = set()
    for seed in range(first, first + 10):
        chance = random.Random(seed)
        pair, service = Pair(library), Service(chance)
        for step in range(EVENTS):
            event: Any
            kind = chance.choices(
                ("data", "checkpoint", "diff", "complete", "local", "upload"), (40, 10, 10, 25, 10, 5)
            )[0]
            result: ApplyResult | None = None
            if kind == "local":
                event = local_statements(chance)
                pair.local(*event)
            elif kind == "upload":
                event = service.write_checkpoint = (service.write_checkpoint or 0) + 1
                pair.upload(event)
            else:
                if not service.ready or kind == "checkpoint":
                    event = service.checkpoint()
                elif kind == "data":
                    event = service.data()
                elif kind == "diff":
                    event = service.diff()
                else:
                    pair.line(service.diff())
                    event = service.complete()
                result = pair.line(event)
            pair.compare(seed, step, event)
            kinds.add(type(result))
            if isinstance(result, Mismatch):
                for name in result.buckets:
                    service.buckets.pop(name, None)
                pair.restart()
                service.ready = False
                pair.compare(seed, step, "restart")
    assert {Applied, Blocked, Mismatch} <= kinds


def test_tables_indexes_and_views_have_the_texts_of_the_official_core(library: Path) -> None:
    pair = Pair(library)
    query = "SELECT type, name, sql FROM sqlite_master WHERE type <> 'trigger' ORDER BY 1, 2"
    assert rows(pair.ours, query) == rows(pair.core.connection, query)
    assert rows(pair.ours, "SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY 1") == rows(
        pair.core.connection, "SELECT name FROM sqlite_master WHERE type = 'trigger' ORDER BY 1"
    )
    assert rows(pair.ours, "SELECT id FROM ps_migration") == rows(pair.core.connection, "SELECT id FROM ps_migration")


def test_a_file_goes_back_and_forth_between_the_official_core_and_us(library: Path, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    ours = open_writer(path)
    prepare(ours, SCHEMA)
    with write_transaction(ours):
        ours.execute("INSERT INTO lists(id, name) VALUES ('1', 'ours')")
    ours.close()

    core = NativeCore(library, SCHEMA, path)
    core.connection.execute("UPDATE lists SET name = 'theirs' WHERE id = '1'")
    core.connection.close()

    ours = open_writer(path)
    prepare(ours, SCHEMA)
    with write_transaction(ours):
        ours.execute("UPDATE lists SET count = 3 WHERE id = '1'")
    assert rows(ours, "SELECT name, count FROM lists") == [("theirs", 3)]
    assert [
        (entry.op_data, entry.transaction_id)
        for transaction in CrudQueue(ours).transactions(10)
        for entry in transaction.entries
    ] == [({"name": "ours"}, 1), ({"name": "theirs"}, 2), ({"count": 3}, 3)]
    ours.close()


@pytest.mark.parametrize("version", [13, 12, 11, 10, 9, 8, 7, 6, 5, 4])
def test_an_older_official_core_takes_a_file_of_ours_back_to_its_version(library: Path, version: int) -> None:
    """The statements in ps_migration, executed by the core itself, lead to the same tables as the core's own statements."""
    pair = Pair(library)
    service = Service(random.Random(version))
    for line in (service.checkpoint(), service.data(), service.data(), service.diff()):
        pair.line(line)
    pair.local("INSERT INTO lists(id, name) VALUES ('9', 'local')")
    ours = pair.ours
    ours.enable_load_extension(True)
    ours.load_extension(str(library), "sqlite3_powersync_init")
    for connection in (ours, pair.core.connection):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("SELECT powersync_test_migration(?)", (version,)).fetchall()
        connection.execute("COMMIT")
    for table in (
        "ps_buckets",
        "ps_oplog",
        "ps_crud",
        "ps_kv",
        "ps_sync_state",
        "ps_stream_subscriptions",
        "ps_migration",
    ):
        columns = [
            name for (name,) in rows(pair.core.connection, f"SELECT name FROM pragma_table_info('{table}') ORDER BY 1")
        ]
        assert columns == [name for (name,) in rows(ours, f"SELECT name FROM pragma_table_info('{table}') ORDER BY 1")]
        # Compared without the texts of the migrations, the client id, and ids which depend on the order of creation.
        shown = [column for column in columns if column not in ("down_migrations", "last_synced_at")]
        where = " WHERE key = 'none'" if table == "ps_kv" else ""
        if columns:
            query = f"SELECT {', '.join(shown)} FROM {table}{where} ORDER BY {', '.join(shown)}"
            assert rows(ours, query) == rows(pair.core.connection, query), table
    for connection in (ours, pair.core.connection):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("SELECT powersync_test_migration(14)").fetchall()
        connection.execute("COMMIT")
    query = COMPARED["ps_buckets"]
    assert rows(ours, query) == rows(pair.core.connection, query)
    assert rows(ours, COMPARED["ps_kv"]) == rows(pair.core.connection, COMPARED["ps_kv"])


@pytest.mark.parametrize("version", [13, 12, 11, 10, 9, 8])
def test_a_file_of_an_older_official_core_is_brought_up_to_date(library: Path, version: int, tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    core = NativeCore(library, SCHEMA, path)
    core.control("start", "{}")
    service = Service(random.Random(1))
    data, checkpoint = service.data(), service.checkpoint()
    for line in (checkpoint, data, service.diff(), service.complete()):
        core.line(line)
    core.connection.execute("INSERT INTO lists(id, name) VALUES ('9', 'local')")
    core.connection.execute("BEGIN IMMEDIATE")
    core.connection.execute("SELECT powersync_test_migration(?)", (version,)).fetchall()
    core.connection.execute("COMMIT")
    expected = {name: rows(core.connection, COMPARED[name]) for name in ("ps_oplog", "ps_updated_rows", "ps_crud")}
    core.connection.close()

    ours = open_writer(path)
    prepare(ours, SCHEMA)
    assert {name: rows(ours, COMPARED[name]) for name in expected} == expected
    assert CrudQueue(ours).target() == 2**63 - 1
    assert rows(ours, "SELECT id, name FROM lists WHERE id = '9'") == [("9", "local")]
    fresh = open_writer(":memory:")
    prepare(fresh, SCHEMA)
    for table in ("ps_buckets", "ps_sync_state", "ps_stream_subscriptions", "ps_kv"):
        query = f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}') ORDER BY name"
        assert rows(ours, query) == rows(fresh, query)
    assert rows(ours, "SELECT id FROM ps_migration ORDER BY id") == rows(
        fresh, "SELECT id FROM ps_migration ORDER BY id"
    )
    ours.close()
