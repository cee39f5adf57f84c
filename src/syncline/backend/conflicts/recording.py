"""Conflicts as rows of a table that is synced back: people decide, not the server. PURE.

Facts: docs/reference/write-path.md, 4 (strategy 5).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from hashlib import sha256

from syncline.backend.conflicts.detection import CONFLICT
from syncline.backend.conflicts.strategy import ConflictStrategy, CurrentRow, Decision, Keep, Reject
from syncline.backend.persisters.base import Write
from syncline.protocol.crud import UpdateType

__all__ = ["CONFLICTS_TABLE_SQL", "RecordConflicts"]

CONFLICTS_TABLE_SQL = """
CREATE TABLE write_conflicts (
  id text PRIMARY KEY,
  user_id text NOT NULL,
  table_name text NOT NULL,
  row_id text NOT NULL,
  conflict_type text NOT NULL,
  client_data text NOT NULL,
  server_data text NOT NULL,
  resolved boolean NOT NULL,
  created_at timestamptz NOT NULL
);
"""
"""A table for records. Sync it with `SELECT * FROM write_conflicts WHERE user_id = auth.user_id()`."""


@dataclass(frozen=True, slots=True)
class RecordConflicts:
    """Where `strategy` finds a conflict (code CONFLICT), the row stays as it is, the transaction goes on, and a record says what happened.

    `client_data` and `server_data` are JSON texts: what the device sent, and the current values of the same columns. A repeated upload
    finds its record there and makes no second one. Other rejections of the strategy hold. Records carry values of rows, and the record's
    `user_id` is the writer: sync them to nobody else. With row-level security the record is written by the same role as the row.
    """

    strategy: ConflictStrategy
    table: str = "write_conflicts"

    def needs(self, write: Write) -> Collection[str]:
        """What the strategy needs, and what the write would change."""
        return {*self.strategy.needs(write), *write.data}

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """As the strategy does, but record a conflict instead of rejecting it."""
        decision = self.strategy.decide(write, current)
        if not isinstance(decision, Reject) or decision.code != CONFLICT or current is None:
            return decision
        return Keep((self._record(write, current),))

    def _record(self, write: Write, current: CurrentRow) -> Write:
        client_data = json.dumps(dict(write.data), sort_keys=True, ensure_ascii=False)
        server_data = json.dumps(dict(current), sort_keys=True, ensure_ascii=False)
        user_id = write.context.user_id
        identity = json.dumps([user_id, write.table, write.id, str(write.op), client_data, server_data])
        data = {
            "user_id": user_id,
            "table_name": write.table,
            "row_id": write.id,
            "conflict_type": str(write.op).lower(),
            "client_data": client_data,
            "server_data": server_data,
            "resolved": False,
            "created_at": write.context.received_at.isoformat(),
        }
        record_id = sha256(identity.encode()).hexdigest()[:32]  # as long as a UUID: a uuid column takes it too
        return Write(
            UpdateType.PUT, self.table, record_id, data, None, write.index, only_new=True, context=write.context
        )
