"""The fast way of a data line into `ps_oplog` and the bucket's running checksums (client SQLite reference, 8)."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter

import apsw
import orjson

from syncline.errors import RemoteProtocolError
from syncline.protocol.lines import DataBatch, OplogEntry
from syncline.protocol.ops import OpType, to_signed32, to_unsigned32

__all__ = ["FRESH_KEYS_MAX", "GATHERED_ROWS_MAX", "BucketWriter"]

FRESH_KEYS_MAX = (
    250_000  # keys remembered over all buckets that fill for the first time, about 80 bytes each (their hashes)
)
GATHERED_ROWS_MAX = 5_000  # operations that wait to be inserted in the order of their keys: sorted in milliseconds
GATHERED_BYTES_MAX = 8 * 1024 * 1024  # characters of their data

_INSERT = "INSERT INTO ps_oplog(bucket, op_id, row_type, row_id, key, data, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"
# CROSS JOIN keeps the keys outside, so that each is one look-up in ps_oplog_key.
_SUPERSEDE = """
DELETE FROM ps_oplog WHERE rowid IN (
  SELECT o.rowid FROM json_each(?) AS k CROSS JOIN ps_oplog AS o ON o.bucket = ? AND o.key = k.value
) RETURNING key, hash
"""
_FINISH = """
UPDATE ps_buckets SET last_op = ?, add_checksum = (add_checksum + ?) & 0xffffffff,
  op_checksum = (op_checksum + ?) & 0xffffffff, count_since_last = count_since_last + ?,
  downloaded_size = downloaded_size + ?
WHERE id = ? RETURNING last_op, downloaded_size
"""
_UPDATED = "INSERT OR IGNORE INTO ps_updated_rows(row_type, row_id) VALUES (?, ?)"

_OplogRow = tuple[int, int, str | None, str | None, str | None, str | None, int]
_key_of = itemgetter(4)


@dataclass(slots=True)
class _Segment:
    """Operations of a line up to a CLEAR or its end, folded: only the last PUT of a key is left."""

    add: int = 0  # checksums of everything that is not a live PUT
    put: int = 0  # checksums of live PUTs
    live: dict[str, _OplogRow] = field(default_factory=dict[str, "_OplogRow"])
    keyless: list[_OplogRow] = field(default_factory=list["_OplogRow"])
    touched: set[str] = field(default_factory=set[str])
    removed: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    superseding: set[str] = field(default_factory=set[str])  # removed keys whose PUT was in this line


@dataclass(slots=True)
class _FreshKeys:
    """Hashes of all keys of a bucket since it was created, and the row that it had when the last of them was stored.

    Two keys with one hash cost a look-up that finds nothing.
    """

    keys: set[int]
    last_op: int = 0
    downloaded_size: int = 0


class BucketWriter:
    """Writes data lines. Keeps the keys of buckets from their creation on, so that a first download needs no deletes.

    The keys are trusted only while the bucket's row is as the writer left it: after a rolled back transaction, or with another
    writer of the file, the look-ups come back.
    """

    __slots__ = ("_connection", "_fresh", "_fresh_count", "_fresh_keys_max", "_gathered", "_gathered_bytes", "_gathers")

    def __init__(self, connection: apsw.Connection, *, fresh_keys_max: int = FRESH_KEYS_MAX) -> None:
        self._connection = connection
        self._gathers = False
        self._gathered: list[_OplogRow] = []
        self._gathered_bytes = 0
        self._fresh: dict[int, _FreshKeys] = {}
        self._fresh_count = 0
        self._fresh_keys_max = fresh_keys_max

    @contextmanager
    def gathering(self) -> Generator[None]:
        """Hold operations back inside, and insert many of them at a time in the order of their keys; all are inserted at the end.

        Two of the three indexes of `ps_oplog` are then filled from one side to the other, many entries to a page, and each page
        is written once: half of the time of a first download. After an exception what waits is forgotten, and so must the transaction be.
        """
        self._gathers = True
        try:
            yield
            self.write_gathered()
        finally:
            self._gathers = False
            self._gathered.clear()
            self._gathered_bytes = 0

    def write_gathered(self) -> None:
        """Insert what waits: before anything that reads `ps_oplog`."""
        if self._gathered:
            self._gathered.sort(key=_key_of)
            self._connection.executemany(_INSERT, self._gathered)
            self._gathered.clear()
            self._gathered_bytes = 0

    def store(self, batch: DataBatch, line_bytes: int) -> None:
        """Store the operations of one line, in the caller's write transaction."""
        bucket, never_applied = self._open_bucket(batch.bucket)
        if not batch.data:
            return
        add = put = 0
        segment = _rows_of_puts(bucket, batch.data)
        if segment is None:
            segment = _Segment()
            for entry in batch.data:
                if entry.op is OpType.CLEAR:
                    self._flush(bucket, segment, never_applied=never_applied)
                    self._clear(bucket)
                    segment, never_applied = _Segment(), True
                    add, put = _checksum(entry), 0
                else:
                    _fold(segment, bucket, entry)
        self._flush(bucket, segment, never_applied=never_applied)
        add += segment.add
        put += segment.put
        [(last_op, size)] = self._connection.execute(
            _FINISH,
            (_op_id(batch.data[-1]), to_unsigned32(add), to_unsigned32(put), len(batch.data), line_bytes, bucket),
        ).fetchall()
        fresh = self._fresh.get(bucket)
        if fresh is not None:
            fresh.last_op, fresh.downloaded_size = int(str(last_op)), int(str(size))

    def forget_rows(self, bucket: int) -> None:
        """Delete all operations of a bucket and mark their rows for the next apply."""
        self.write_gathered()
        self._connection.execute(
            "INSERT OR IGNORE INTO ps_updated_rows(row_type, row_id) SELECT row_type, row_id FROM ps_oplog WHERE bucket = ?",
            (bucket,),
        )
        self._connection.execute("DELETE FROM ps_oplog WHERE bucket = ?", (bucket,))

    def forget_keys(self) -> None:
        """Forget the remembered keys: what comes after a full apply are changes, no first download."""
        self._fresh.clear()
        self._fresh_count = 0

    def _open_bucket(self, name: str) -> tuple[int, bool]:
        """(id, whether nothing of it was ever applied); creates the row."""
        for found, last_applied, last_op, size in self._connection.execute(
            "SELECT id, last_applied_op, last_op, downloaded_size FROM ps_buckets WHERE name = ?", (name,)
        ):
            bucket = int(str(found))
            fresh = self._fresh.get(bucket)
            if fresh is not None and (fresh.last_op, fresh.downloaded_size) != (last_op, size):
                self._forget_bucket(bucket)
            return bucket, last_applied == 0
        [(created,)] = self._connection.execute(
            "INSERT INTO ps_buckets(name) VALUES (?) RETURNING id", (name,)
        ).fetchall()
        bucket = int(str(created))
        self._forget_bucket(bucket)
        self._fresh[bucket] = _FreshKeys(set())
        return bucket, True

    def _forget_bucket(self, bucket: int) -> None:
        fresh = self._fresh.pop(bucket, None)
        if fresh is not None:
            self._fresh_count -= len(fresh.keys)

    def _clear(self, bucket: int) -> None:
        self.forget_rows(bucket)
        self._connection.execute(
            "UPDATE ps_buckets SET last_applied_op = 0, add_checksum = 0, op_checksum = 0 WHERE id = ?", (bucket,)
        )

    def _flush(self, bucket: int, segment: _Segment, *, never_applied: bool) -> None:
        """Write a segment and add what it superseded to its checksums."""
        superseded = segment.superseding
        keys = self._maybe_stored(bucket, segment.touched or segment.live)
        if keys:
            self.write_gathered()
            for key, checksum in self._connection.execute(_SUPERSEDE, (orjson.dumps(keys).decode(), bucket)).fetchall():
                superseded.add(str(key))
                segment.add += int(str(checksum))
                segment.put -= int(str(checksum))
        if not never_applied and superseded:
            self._connection.executemany(_UPDATED, [row for key, row in segment.removed.items() if key in superseded])
        if segment.keyless:
            self._connection.executemany(_INSERT, segment.keyless)
        self._insert(segment.live.values())

    def _insert(self, rows: Collection[_OplogRow]) -> None:
        if not self._gathers:
            self._connection.executemany(_INSERT, rows)
            return
        self._gathered.extend(rows)
        self._gathered_bytes += sum(len(row[5] or "") for row in rows)
        if len(self._gathered) >= GATHERED_ROWS_MAX or self._gathered_bytes >= GATHERED_BYTES_MAX:
            self.write_gathered()

    def _maybe_stored(self, bucket: int, keys: Collection[str]) -> list[str]:
        """Which of these keys can have a row in `ps_oplog`."""
        fresh = self._fresh.get(bucket)
        if fresh is None:
            return list(keys)
        hashes = set(map(hash, keys))
        known = hashes & fresh.keys
        found = [key for key in keys if hash(key) in known] if known else []
        before = len(fresh.keys)
        fresh.keys |= hashes
        self._fresh_count += len(fresh.keys) - before
        if self._fresh_count > self._fresh_keys_max:
            self.forget_keys()
        return found


def _rows_of_puts(bucket: int, entries: list[OplogEntry]) -> _Segment | None:
    """The segment of a line of PUTs of as many rows, which is what a first download is made of; None for any other line.

    `_fold` would give the same: this takes a third of its time.
    """
    live: dict[str, _OplogRow] = {}
    total = 0
    put = OpType.PUT
    try:
        for entry in entries:
            kind, row_id, subkey = entry.object_type, entry.object_id, entry.subkey
            if entry.op is not put or kind is None or row_id is None:
                return None
            key = f"{kind}/{row_id}/{'null' if subkey is None else subkey}"
            checksum = int(entry.checksum)
            total += checksum
            signed32 = (
                checksum + 0x80000000 & 0xFFFFFFFF
            ) - 0x80000000  # here, for a call would take a tenth of the time
            live[key] = (bucket, int(entry.op_id), kind, row_id, key, entry.data, signed32)
    except ValueError as exc:
        raise _not_a_number() from exc
    return _Segment(put=total, live=live) if len(live) == len(entries) else None


def _fold(segment: _Segment, bucket: int, entry: OplogEntry) -> None:
    """Take one PUT, REMOVE or MOVE into a segment."""
    checksum = _checksum(entry)
    if entry.op is OpType.MOVE:
        segment.add += checksum
        return
    key = None
    if entry.object_type is not None and entry.object_id is not None:
        key = f"{entry.object_type}/{entry.object_id}/{'null' if entry.subkey is None else entry.subkey}"
        segment.touched.add(key)
        replaced = segment.live.pop(key, None)
        if replaced is not None:
            segment.add += replaced[6]
            segment.put -= replaced[6]
    else:
        replaced = None
    if entry.op is OpType.PUT:
        segment.put += checksum
        row = (bucket, _op_id(entry), entry.object_type, entry.object_id, key, entry.data, to_signed32(checksum))
        if key is None:
            segment.keyless.append(row)
        else:
            segment.live[key] = row
        return
    segment.add += checksum
    if key is not None and entry.object_type is not None and entry.object_id is not None:
        segment.removed[key] = (entry.object_type, entry.object_id)
        if replaced is not None:
            segment.superseding.add(key)


def _checksum(entry: OplogEntry) -> int:
    # Unsigned, signed or a whole float on the wire: the same modulo 2^32.
    return int(entry.checksum)


def _op_id(entry: OplogEntry) -> int:
    try:
        return int(entry.op_id)
    except ValueError as exc:
        raise _not_a_number() from exc


def _not_a_number() -> RemoteProtocolError:
    return RemoteProtocolError("A sync line has an op id that is not a number.")
