"""Reading conversations: what must hold inside one, and what is left of it once that which may differ is taken out."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, cast

import bson

from syncline.protocol.ops import put_checksum, remove_checksum

__all__ = ["Segment", "bson_as_lines", "check_conversation", "recorded_head", "recorded_lines", "segments"]

_bson: Any = bson  # its stubs leave the types of buffers open
Segment = tuple[Any, ...]
"""("checkpoint" | "diff", …), ("ops", {bucket: …}), ("partial", priority), ("complete",), ("step", text)."""


def bson_as_lines(body: bytes) -> list[str]:
    """A BSON stream as lines of JSON. Every document must be whole, and nothing may stand between two."""
    lines: list[str] = []
    start = 0
    while start < len(body):
        size = int.from_bytes(body[start : start + 4], "little")
        assert 5 <= size <= len(body) - start, "a document is cut, or its length is wrong"
        lines.append(json.dumps(_bson.decode(body[start : start + size])))
        start += size
    return lines


def recorded_head(text: str) -> tuple[int, dict[str, str]]:
    """Status and headers of a recorded answer, without those that a server adds to every answer."""
    status, *headers = text[text.index("HTTP/1.1") :].partition("\n\n")[0].splitlines()
    found = dict(line.split(": ", 1) for line in headers if line)
    return int(status.split()[1]), {
        name.lower(): value
        for name, value in found.items()
        if name.lower() not in ("date", "connection", "keep-alive", "transfer-encoding")
    }


def recorded_lines(text: str) -> list[str]:
    """The lines of a recorded answer's body."""
    return text.replace("\r\n", "\n").partition("\n\n")[2].splitlines()


def _bucket(name: str) -> str:
    """A bucket name without its version."""
    return re.sub(r"^\d+#", "#", name)


def _row(text: Any) -> dict[str, Any] | None:
    """Row data as a value; not-a-number and infinities are null with us."""
    value: object = json.loads(text) if isinstance(text, str) else text
    if value is None:
        return None
    columns = cast("dict[str, Any]", value)
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in columns.items()}


def _checkpoint(kind: str, line: dict[str, Any], dirty: set[str]) -> Segment:
    buckets = {
        _bucket(entry["bucket"]): (
            entry["priority"],
            entry["count"],
            None if _bucket(entry["bucket"]) in dirty else entry["checksum"] % 2**32,
            sorted({json.dumps(reason) for reason in entry["subscriptions"]}),
        )
        for entry in line.get("buckets", line.get("updated_buckets", []))
    }
    streams = [(stream["name"], stream["is_default"], len(stream["errors"])) for stream in line.get("streams", [])]
    removed = sorted(map(_bucket, line.get("removed_buckets", [])))
    return kind, buckets, removed, streams, "write_checkpoint" in line


def _dirty_buckets(lines: list[dict[str, Any]]) -> set[str]:
    """Buckets whose totals rest on something that may differ: a subkey, or a NaN that we write as null."""
    dirty: set[str] = set()
    for line in lines:
        for entry in line.get("data", {}).get("data", []):
            if entry["op"] != "PUT" or entry["object_type"] == "all_types":
                dirty.add(_bucket(line["data"]["bucket"]))
    return dirty


def segments(text_lines: Iterable[str], *, dirty_too: set[str] | None = None) -> tuple[list[Segment], set[str]]:
    """A conversation as comparable segments, and the buckets whose checksums were left out."""
    texts = [line.strip() for line in text_lines]
    dirty = _dirty_buckets([json.loads(text) for text in texts if text.startswith("{")]) | (dirty_too or set())
    out: list[Segment] = []
    for text in texts:
        if text.startswith("# step"):
            out.append(("step", text))
        if not text.startswith("{"):
            continue
        line: dict[str, Any] = json.loads(text)
        [(kind, value)] = line.items()
        match kind:
            case "checkpoint" | "checkpoint_diff":
                out.append(_checkpoint(kind, value, dirty))
            case "data":
                if not out or out[-1][0] != "ops":
                    out.append(("ops", defaultdict[str, list[Segment]](list)))
                out[-1][1][_bucket(value["bucket"])] += [_entry(entry) for entry in value["data"]]
            case "partial_checkpoint_complete":
                out.append(("partial", value["priority"]))
            case "checkpoint_complete":
                out.append(("complete",))
            case _:
                assert kind == "token_expires_in"
    return out, dirty


def _entry(entry: dict[str, Any]) -> Segment:
    checksum = entry["checksum"] if entry["op"] == "PUT" and entry["object_type"] != "all_types" else None
    return entry["op"], entry.get("object_type"), entry.get("object_id"), _row(entry.get("data")), checksum


def check_conversation(text_lines: Iterable[str], *, positions: dict[str, int] | None = None) -> None:
    """Assert what the protocol demands of any conversation that began at `positions` (sections 2.5, 2.6 and 3)."""
    known = dict(positions or {})
    checkpoint = -1
    buckets: dict[str, dict[str, Any]] = {}
    sums: dict[str, list[int]] = {}
    for text in text_lines:
        if not text.startswith("{"):
            continue
        [(kind, value)] = json.loads(text).items()
        if kind in ("checkpoint", "checkpoint_diff"):
            assert int(value["last_op_id"]) >= checkpoint, "a checkpoint never goes back"
            checkpoint = int(value["last_op_id"])
            for name in value.get("removed_buckets", []):
                for state in (buckets, known, sums):
                    state.pop(name, None)
            buckets |= {entry["bucket"]: entry for entry in value.get("buckets", value.get("updated_buckets"))}
        elif kind == "data":
            _check_data(value, known, sums, checkpoint)
        elif kind in ("partial_checkpoint_complete", "checkpoint_complete"):
            assert int(value["last_op_id"]) == checkpoint
            for name, entry in buckets.items():
                if name in sums and entry["priority"] <= value.get("priority", 3):
                    assert sums[name] == [entry["checksum"] % 2**32, entry["count"]], name


def _check_data(line: dict[str, Any], known: dict[str, int], sums: dict[str, list[int]], checkpoint: int) -> None:
    name, last = line["bucket"], int(line["after"])
    assert last == known.get(name, 0), "a chunk begins where the last one ended"
    if last == 0:
        sums[name] = [0, 0]
    for entry in line["data"]:
        op_id = int(entry["op_id"])
        assert last < op_id <= checkpoint, "op ids ascend, up to the checkpoint"
        last = op_id
        if entry["op"] == "PUT" and isinstance(entry["data"], str):
            assert entry["checksum"] == put_checksum(entry["object_type"], entry["object_id"], entry["data"])
        elif entry["op"] == "REMOVE":
            assert entry["checksum"] == remove_checksum(entry["subkey"])
        if name in sums:
            sums[name] = [(sums[name][0] + entry["checksum"]) % 2**32, sums[name][1] + 1]
    assert int(line["next_after"]) == last
    known[name] = last
