"""Random events for the side-by-side test: what a service could send, what an app could do, what can happen in between."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["STREAMS", "Event", "Generator"]

STREAMS = ("mine", "list", "rare")  # what the app subscribes to; the service has all of them
DEFAULTS = ("mine", "extra")
TYPES = ("lists", "todos", "unknown", "tracked", "places", "people", "visits")
BUCKETS = ("g#1[]", "g#2[]", 'p["x"]', "own[1]")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: a kind, and what belongs to it."""

    kind: str
    line: dict[str, Any] = field(default_factory=dict[str, Any])
    statements: tuple[str, ...] = ()
    stream: str = ""
    params: str = "null"
    number: int | None = None
    more: Any = None


class Generator:
    """Knows the checksum of every bucket, so that most checkpoints are valid; and what the client has asked for."""

    def __init__(self, chance: random.Random, *, wrong: float = 0.03) -> None:
        self.chance = chance
        self.wrong = wrong  # share of wrong checksums
        self.op_id = 0
        self.buckets: dict[str, dict[str, Any]] = {}
        self.ready = False
        self.write_checkpoint: int | None = None
        self.subscriptions = 0  # explicit ones in the open request
        self.schema = 0
        self.streams = 0

    def reopened(self, buckets: list[str], subscriptions: int) -> None:
        """A new stream begins: no line but a checkpoint makes sense. The client has these buckets, and so many subscriptions."""
        self.ready = False
        self.subscriptions = subscriptions
        for name in self.buckets.keys() - set(buckets):
            del self.buckets[name]

    def next(self) -> Event:
        """One more event."""
        if not self.ready and self.chance.random() < 0.8:
            return Event("checkpoint", line=self.checkpoint())
        kind = self.chance.choices(tuple(_WEIGHTS), tuple(_WEIGHTS.values()))[0]
        return getattr(self, f"_{kind}")()

    # -- lines

    def _checkpoint(self) -> Event:
        return Event("checkpoint", line=self.checkpoint())

    def local(self) -> Event:
        """A local write."""
        return self._local()

    def _data(self) -> Event:
        if not self.buckets or not self.ready:
            return self._checkpoint()
        return Event("data", line=self.data())

    def _diff(self) -> Event:
        return Event("diff", line=self.diff())

    def _complete(self) -> Event:
        # What a service completes, it has described: mostly a diff comes first.
        if self.chance.random() < 0.8 and self.ready:
            return Event("diff and complete", line=self.diff(), more=self.complete())
        return Event("complete", line=self.complete())

    def _keepalive(self) -> Event:
        return Event("keepalive", line={"token_expires_in": self.chance.choice((60, 300, 300, 20, 0))})

    def _unknown_line(self) -> Event:
        return Event("unknown line", line={"something_new": {"a": 1}})

    def _broken_line(self) -> Event:
        return Event("broken line", more='{"data":{')

    def checkpoint(self) -> dict[str, Any]:
        """A checkpoint line; a bucket may be gone since the last one."""
        self.ready = True
        for name in [name for name in self.buckets if self.chance.random() < 0.1]:
            del self.buckets[name]
        self._announce()
        streams: list[dict[str, Any]] = [
            {"name": name, "is_default": name in DEFAULTS, "errors": []}
            for name in (*STREAMS, "extra")
            if name != "extra" or self.chance.random() < 0.5
        ]
        self.streams = len(streams)
        body = {
            "last_op_id": str(self.op_id),
            "write_checkpoint": None if self.write_checkpoint is None else str(self.write_checkpoint),
            "buckets": [self._description(name) for name in self.buckets],
            "streams": streams,
        }
        return {"checkpoint": body}

    def diff(self) -> dict[str, Any]:
        """A checkpoint_diff line."""
        removed = [name for name in self.buckets if self.chance.random() < 0.1]
        for name in removed:
            del self.buckets[name]
        self._announce(but=removed)
        body = {
            "last_op_id": str(self.op_id),
            "write_checkpoint": None if self.write_checkpoint is None else str(self.write_checkpoint),
            "updated_buckets": [self._description(name) for name in self.buckets],
            "removed_buckets": removed,
        }
        return {"checkpoint_diff": body}

    def complete(self) -> dict[str, Any]:
        """A full or a partial completion."""
        if self.chance.random() < 0.4:
            body = {"last_op_id": str(self.op_id), "priority": self.chance.randrange(4)}
            return {"partial_checkpoint_complete": body}
        return {"checkpoint_complete": {"last_op_id": str(self.op_id)}}

    def data(self) -> dict[str, Any]:
        """A data line with up to eight operations."""
        name = self.chance.choice(list(self.buckets))
        totals = self.buckets[name]
        ops = [self._op(totals) for _ in range(self.chance.randrange(1, 9))]
        return {"data": {"bucket": name, "data": ops, "after": "0", "next_after": str(self.op_id), "has_more": False}}

    def _announce(self, but: Sequence[str] = ()) -> None:
        """New buckets: a service names a bucket in a checkpoint before it sends its operations."""
        for name in BUCKETS:
            if name not in self.buckets and name not in but and self.chance.random() < 0.4:
                priority = self.chance.randrange(4)
                self.buckets[name] = {"checksum": 0, "count": 0, "priority": priority, "reasons": self._reasons()}

    def _reasons(self) -> list[dict[str, int]]:
        reasons: list[dict[str, int]] = []
        if self.chance.random() < 0.4 and self.streams:
            reasons.append({"default": 0})
        if self.subscriptions and self.chance.random() < 0.6:
            reasons.append({"sub": self.chance.randrange(self.subscriptions)})
        return reasons

    def _description(self, name: str) -> dict[str, Any]:
        totals = self.buckets[name]
        wrong = self.chance.random() < self.wrong
        signed = (totals["checksum"] + 2**31) % 2**32 - 2**31
        reasons = [reason for reason in totals["reasons"] if reason.get("sub", 0) < max(self.subscriptions, 1)]
        return {
            "bucket": name,
            "checksum": signed ^ 1 if wrong else signed,
            "count": totals["count"],
            "priority": totals["priority"],
            "subscriptions": reasons,
        }

    def _op(self, totals: dict[str, Any]) -> dict[str, Any]:
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
            entry |= {"object_type": chance.choice(TYPES), "object_id": str(chance.randrange(6))}
            if chance.random() < 0.5:
                entry["subkey"] = chance.choice(("a", 'b"/c', "é"))
        if kind == "PUT":
            entry["data"] = json.dumps(
                {
                    "name": chance.choice(("x", "ü", '"', None)),
                    "count": chance.choice((0, 4, True, 9007199254740993, 1.0)),
                    "ratio": chance.choice((1.5, 2, [1], {"b": 1, "a": "ü"})),
                }
            )
        return entry

    # -- the app

    def _local(self) -> Event:
        return Event("local", statements=tuple(self._statement() for _ in range(self.chance.randrange(1, 4))))

    def _rolled_back(self) -> Event:
        return Event("rolled back", statements=(self._statement(),))

    def _statement(self) -> str:
        chance = self.chance
        row = chance.randrange(8)
        number = chance.choice(("1", "1.0", "'1'", "NULL", "-5", "2.5", "9007199254740993"))
        text = chance.choice(("'x'", "NULL", "'ünï \"q\" ''s'''", "json_array(1)", "char(9, 1, 10)"))
        template = chance.choice(_STATEMENTS[self.schema])
        return template.format(row=row, number=number, text=text)

    def _upload(self) -> Event:
        self.write_checkpoint = (self.write_checkpoint or 0) + 1
        # Sometimes an older one: then the checkpoint that the client waits for is still to come.
        return Event("upload", number=self.write_checkpoint)

    def _upload_part(self) -> Event:
        custom = self.chance.choice((None, (self.write_checkpoint or 0) + 1))
        return Event("part of an upload", number=custom)

    def _subscribe(self) -> Event:
        # Not to one that everybody has: the core sees a row of its own in that, ours one stream with two reasons.
        return Event(
            "subscribe",
            stream=self.chance.choice(STREAMS[1:]),
            params=self.chance.choice(("null", '{"id":1}', '{"a":"ü","b":null}')),
            number=self.chance.choice((None, None, 0, 1, 3)),
            more=self.chance.choice((None, 60, 3600)),
        )

    def _unsubscribe(self) -> Event:
        return Event("unsubscribe", stream=self.chance.choice(STREAMS), params=self.chance.choice(("null", '{"id":1}')))

    def _hold(self) -> Event:
        held = [(stream, params) for stream in STREAMS for params in ("null", '{"id":1}') if self.chance.random() < 0.3]
        return Event("hold streams", more=held)

    def _time_passes(self) -> Event:
        return Event("time passes", number=self.chance.choice((120, 7200, 100_000)))

    # -- the connection and the file

    def _established(self) -> Event:
        return Event("established")

    def _stream_ends(self) -> Event:
        return Event("stream ends")

    def _token_refreshed(self) -> Event:
        return Event("token refreshed")

    def _restart(self) -> Event:
        return Event("restart")

    def _clear(self) -> Event:
        self.buckets.clear()
        return Event("clear", number=self.chance.randrange(4))

    def _resync(self) -> Event:
        return Event("resync", number=self.chance.randrange(2))

    def _schema_change(self) -> Event:
        self.schema = 1 - self.schema
        return Event("schema change", number=self.schema)

    def _migration(self) -> Event:
        return Event("migration", number=self.chance.randrange(5, 14))


_WEIGHTS = {
    "data": 34,
    "checkpoint": 6,
    "diff": 6,
    "complete": 24,
    "keepalive": 2,
    "unknown_line": 0.5,
    "broken_line": 0.3,
    "local": 10,
    "rolled_back": 1,
    "upload": 5,
    "upload_part": 1,
    "subscribe": 2,
    "unsubscribe": 0.7,
    "hold": 1,
    "time_passes": 0.7,
    "established": 1,
    "stream_ends": 0.7,
    "token_refreshed": 0.5,
    "restart": 1,
    "clear": 0.7,
    "resync": 0.5,
    "schema_change": 0.4,
    "migration": 0.03,
}

_EVERYWHERE = (
    "INSERT OR REPLACE INTO lists(id, name, count, ratio) VALUES ('{row}', {text}, {number}, {number})",
    "INSERT OR IGNORE INTO lists(id, name, count) VALUES ('{row}', {text}, {number})",
    "UPDATE lists SET count = {number}, name = {text} WHERE id = '{row}'",
    "UPDATE OR IGNORE lists SET ratio = {number} WHERE id = '{row}'",
    "UPDATE lists SET name = name WHERE id = '{row}'",
    "DELETE FROM lists WHERE id = '{row}'",
    "INSERT OR REPLACE INTO drafts(id, body) VALUES ('{row}', {text})",
    "UPDATE drafts SET body = {text}",
    "DELETE FROM drafts",
    "INSERT INTO logs(id, message) VALUES ('{row}', {text})",
    "INSERT OR REPLACE INTO changed(id, a, b) VALUES ('{row}', {number}, {text})",
    "UPDATE changed SET a = {number}, b = {text} WHERE id = '{row}'",
    "DELETE FROM changed WHERE id = '{row}'",
    "INSERT INTO places(id, name, count, note) VALUES ('{row}', {text}, {number}, 'n') ON CONFLICT DO NOTHING",
)
_STATEMENTS = (
    (
        *_EVERYWHERE,
        "INSERT OR REPLACE INTO tasks(id, title) VALUES ('{row}', {text})",
        "DELETE FROM tasks WHERE id = '{row}' AND title IS {text}",
        "INSERT OR REPLACE INTO tracked(id, a, b, _metadata) VALUES ('{row}', {number}, {text}, {text})",
        "UPDATE tracked SET a = {number}, _metadata = {text} WHERE id = '{row}'",
        "UPDATE tracked SET a = a WHERE id = '{row}'",
        "UPDATE tracked SET _deleted = TRUE, _metadata = {text} WHERE id = '{row}'",
        "DELETE FROM tracked WHERE id = '{row}'",
        "INSERT OR REPLACE INTO wide(id, c3, c49) VALUES ('{row}', {text}, {number})",
        "UPDATE wide SET c58 = {text}, c4 = {number} WHERE id = '{row}'",
        "UPDATE places SET name = {text}, count = {number} WHERE id = '{row}'",
        "UPDATE places SET ratio = {number} WHERE id = '{row}'",
        "UPDATE places SET note = {text} WHERE id = '{row}'",
        "DELETE FROM places WHERE id = '{row}'",
        "INSERT OR REPLACE INTO visits(id, name, count) VALUES ('{row}', {text}, {number})",
        "UPDATE visits SET count = {number} WHERE id = '{row}'",
        "UPDATE visits SET count = count",
        "DELETE FROM visits WHERE id = '{row}'",
    ),
    (
        *_EVERYWHERE,
        "INSERT OR REPLACE INTO tasks(id, name) VALUES ('{row}', {text})",
        "UPDATE tasks SET name = {text} WHERE id = '{row}'",  # one row: their order on disk is nobody's promise
        "UPDATE lists SET colour = {text} WHERE id = '{row}'",
        "INSERT OR REPLACE INTO people(id, name) VALUES ('{row}', {text})",
        "DELETE FROM people WHERE id = '{row}'",
    ),
)
