"""How a deployed sync config stands, as the admin API tells it: its slot, its tables, what is wrong (protocol reference, 7.2)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from syncline.api.admin.sync_rules import SourceTables, table_entries
from syncline.replication.inspection import SlotReport
from syncline.replication.versions import BEING_REPLACED
from syncline.storage.control_model import VersionReport
from syncline.storage.model import SnapshotState, StoredTable
from syncline.sync_config import CompiledPlan

__all__ = ["NO_REPLICATION", "ReplicationState", "SourceAnswer", "StatusWriter", "iso_time", "now_ms"]

LATE_WARNING_S = 300.0  # seconds without a sign of life of replication after which diagnostics warn
LATE_FATAL_S = 900.0  # seconds after which they call it fatal
SLOT_BUDGET_WARNED = 0.5  # share of max_slot_wal_keep_size below which they warn


class ReplicationState(Protocol):
    """What a replicating process knows of its work and storage does not."""

    @property
    def touched_s(self) -> float:
        """The last sign of life, in seconds since 1970."""
        ...

    @property
    def last_error(self) -> str:
        """Why replication does not go on at present; empty while it does."""
        ...

    def checkpoint_ms(self, version: int) -> int | None:
        """When the newest checkpoint of a version became visible, in milliseconds since 1970."""
        ...


class _NoReplication:
    """A process that does not replicate: storage is all that it knows."""

    touched_s = 0.0
    last_error = ""

    def checkpoint_ms(self, version: int) -> int | None:
        return None


NO_REPLICATION: ReplicationState = _NoReplication()


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What the source said. `problems` keep it from being replicated; with `failure` it could not be asked at all."""

    tables: SourceTables
    problems: tuple[str, ...] = ()
    slots: Mapping[str, SlotReport] | None = None

    @property
    def connected(self) -> bool:
        """Whether the source answered."""
        return not self.tables.failure


class StatusWriter:
    """Writes statuses for the connection `connection_id`, `tag`."""

    def __init__(
        self, *, connection_id: str, tag: str, replication: ReplicationState, clock: Callable[[], float] = time.time
    ) -> None:
        self._connection = {"id": connection_id, "tag": tag}
        self._replication = replication
        self._clock = clock

    @property
    def replication_error(self) -> str:
        """Why replication does not go on at present; empty while it does."""
        return self._replication.last_error

    def of_version(
        self,
        report: VersionReport,
        plan: CompiledPlan | None,
        source: SourceAnswer,
        *,
        content: bool,
        is_replicated: bool,
    ) -> dict[str, Any]:
        """A version that storage holds. `is_replicated`: the replicating process works on this one."""
        version = report.version
        slot = (source.slots or {}).get(version.slot_name)
        connection: dict[str, Any] = {
            **self._connection,
            "slot_name": version.slot_name,
            "initial_replication_done": version.snapshot_done,
        }
        if report.checkpoint_position:
            connection["last_lsn"] = report.checkpoint_position
        checkpoint_ms = self._replication.checkpoint_ms(version.number)
        touched_ms = int(self._replication.touched_s * 1000) if is_replicated else checkpoint_ms
        if touched_ms:
            connection["last_keepalive_ts"] = iso_time(touched_ms)
        if checkpoint_ms is not None:
            connection["last_checkpoint_ts"] = iso_time(checkpoint_ms)
        connection |= _slot_fields(slot)
        tables = _tables(plan, source, report.tables)
        connection["tables"] = tables
        errors = self._version_errors(report, slot, is_replicated=is_replicated)
        if is_replicated and self._replication.last_error:
            errors.append(_error("fatal", self._replication.last_error))
        return self._status(version.sync_config if content else None, [connection], tables, errors, source)

    def of_text(
        self,
        text: str | None,
        plan: CompiledPlan,
        source: SourceAnswer,
        *,
        slot_name: str = "",
        errors: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """A config of which no version has been made."""
        tables = _tables(plan, source, ())
        connection: dict[str, Any] = {
            **self._connection,
            "slot_name": slot_name,
            "initial_replication_done": False,
            "tables": tables,
        }
        return self._status(text, [connection], tables, errors or [], source)

    def of_error(self, text: str | None, message: str) -> dict[str, Any]:
        """A config that cannot be used."""
        content = {"content": text} if text is not None else {}
        return {**content, "connections": [], "errors": [_error("fatal", message) | {"ts": iso_time(now_ms())}]}

    def _status(
        self,
        text: str | None,
        connections: list[dict[str, Any]],
        tables: list[dict[str, Any]],
        errors: list[dict[str, Any]],
        source: SourceAnswer,
    ) -> dict[str, Any]:
        of_tables = [error for table in tables for error in table["errors"]]
        of_source = [_error("fatal", problem) for problem in source.problems]
        # What the replicating process says of the source is what the source says itself, told once.
        unique = {(error["message"], str(error.get("location"))): error for error in [*of_tables, *of_source, *errors]}
        content = {"content": text} if text is not None else {}
        return {**content, "connections": connections, "errors": list(unique.values())}

    def _version_errors(
        self, report: VersionReport, slot: SlotReport | None, *, is_replicated: bool
    ) -> list[dict[str, Any]]:
        version = report.version
        errors: list[dict[str, Any]] = []
        # That it is replaced because a config was deployed is no error; that its slot was lost is one, and has a code.
        if version.last_error and (
            not version.last_error.startswith(BEING_REPLACED) or "[PSYNC_" in version.last_error
        ):
            # What is recorded without a code is no failure: the version waits for somebody.
            errors.append(_error("fatal" if "[PSYNC_" in version.last_error else "warning", version.last_error))
        if slot is not None and slot.wal_status == "lost":
            errors.append(
                _error(
                    "fatal",
                    f"[PSYNC_S1146] The replication slot {version.slot_name} was invalidated: its log grew beyond"
                    " max_slot_wal_keep_size. Everything is copied again with a new slot; allow the source more.",
                )
            )
        elif slot is not None and slot.safe_wal_size is not None and slot.max_slot_wal_keep_size:
            left = max(slot.safe_wal_size, 0) / slot.max_slot_wal_keep_size
            if left <= SLOT_BUDGET_WARNED:
                text = f"[PSYNC_S1146] {left:.0%} of max_slot_wal_keep_size is left for the replication slot."
                errors.append(_error("warning", text))
        if version.snapshot_done and not report.checkpoint_position:
            errors.append(_error("warning", "All tables are copied, and there is no checkpoint yet."))
        silent_s = self._clock() - self._replication.touched_s
        if is_replicated and self._replication.touched_s and silent_s >= LATE_WARNING_S:
            level = "fatal" if silent_s >= LATE_FATAL_S else "warning"
            errors.append(_error(level, f"Replication has shown no sign of life for {silent_s / 60:.0f} minutes."))
        return errors


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def iso_time(ms: int) -> str:
    """A time in milliseconds since 1970 as the API writes times."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(level: str, message: str) -> dict[str, Any]:
    return {"level": level, "message": message}


def _slot_fields(slot: SlotReport | None) -> dict[str, Any]:
    """What the source says of the slot; fields that it does not tell are left out."""
    if slot is None:
        return {}
    fields = {
        "replication_lag_bytes": slot.lag_bytes,
        "wal_status": slot.wal_status,
        "safe_wal_size": slot.safe_wal_size,
        "max_slot_wal_keep_size": slot.max_slot_wal_keep_size,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _tables(plan: CompiledPlan | None, source: SourceAnswer, stored: tuple[StoredTable, ...]) -> list[dict[str, Any]]:
    """Tables of a config, each once. Those that are not copied yet say how far their copy is, in `snapshot` (ours)."""
    if plan is None:
        return []
    copies = {(table.schema, table.name): table for table in stored}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for _, entries in table_entries(plan, source.tables):
        for entry in entries:
            table = copies.get((entry["schema"], entry["name"]))
            if table is not None and table.snapshot is SnapshotState.PENDING:
                entry["snapshot"] = _snapshot(table)
            found.setdefault((entry["schema"], entry["name"]), entry)
    return list(found.values())


def _snapshot(table: StoredTable) -> dict[str, Any]:
    progress = table.progress
    if progress is None:
        return {"state": table.snapshot.value, "rows": 0, "share": 0.0}
    share = progress.next_block / progress.blocks if progress.blocks else 1.0
    return {"state": table.snapshot.value, "rows": progress.rows, "share": round(min(share, 1.0), 4)}
