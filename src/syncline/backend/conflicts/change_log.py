"""What became of each changed field, as rows of a table that is synced back. PURE.

Facts: docs/reference/write-path.md, 4 (strategy 6).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from syncline.backend.conflicts.detection import CONFLICT
from syncline.backend.conflicts.strategy import (
    Apply,
    ConflictStrategy,
    CurrentRow,
    Decision,
    Keep,
    LastWriteWins,
    Reject,
)
from syncline.backend.persisters.base import Write
from syncline.protocol.crud import UpdateType

__all__ = ["CHANGES_TABLE_SQL", "NO_SUCH_ROW", "ChangeLog"]

NO_SUCH_ROW = "NO_SUCH_ROW"  # code of a change to a row that the user has not (any more): it had no effect

CHANGES_TABLE_SQL = """
CREATE TABLE field_changes (
  id text PRIMARY KEY,
  user_id text NOT NULL,
  client_id text,
  change_id text,
  table_name text NOT NULL,
  row_id text NOT NULL,
  op text NOT NULL,
  field_name text,
  old_value text,
  new_value text,
  status text NOT NULL,
  error_code text,
  created_at timestamptz NOT NULL
);
"""
"""A table for the log. Sync it with `SELECT * FROM field_changes WHERE user_id = auth.user_id()`."""


@dataclass(frozen=True, slots=True)
class ChangeLog:
    """Judge as `strategy` does, and log each field of the write: `status` is `applied`, or `failed` with an `error_code`.

    A conflict (code CONFLICT) fails the change alone: the row stays, and the transaction goes on. So does a change to a row that is not
    there (NO_SUCH_ROW). Other rejections of the strategy hold. A DELETE is one entry without a field. `old_value` and `new_value` are JSON
    texts.

    The device shows changes as pending for as long as it has no entry for them: it names a change in `_metadata` (a table with
    `track_metadata`), and finds the name in `change_id`. With `only_failed` nothing is logged of what was applied, for devices that forget
    a pending change once it is uploaded. Entries carry values of rows, and `user_id` is the writer: sync them to nobody else. The log grows
    for ever; let a job of the app's own delete what is old.
    """

    strategy: ConflictStrategy = field(default_factory=LastWriteWins)
    table: str = "field_changes"
    only_failed: bool = False

    def needs(self, write: Write) -> Collection[str]:
        """What the strategy needs, what the write would change, and whether there is a row at all."""
        return {"id", *self.strategy.needs(write), *write.data}

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        """As the strategy does, with an entry for each field."""
        if current is None and write.op is not UpdateType.PUT:
            return Keep(tuple(self._entries(write, {}, "failed", NO_SUCH_ROW)))
        decision = self.strategy.decide(write, current)
        before = current or {}
        if isinstance(decision, Reject):
            if decision.code != CONFLICT:
                return decision
            return Keep(tuple(self._entries(write, before, "failed", CONFLICT)))
        if isinstance(decision, Keep):
            return Keep((*decision.records, *self._entries(write, before, "failed", CONFLICT)))
        if self.only_failed:
            return decision
        # What is logged is what was written: a strategy may have merged it.
        return Apply(decision.write, (*decision.records, *self._entries(decision.write, before, "applied", None)))

    def _entries(self, write: Write, before: Mapping[str, Any], status: str, code: str | None) -> Iterator[Write]:
        changed: list[tuple[str | None, Any, Any]] = [
            (name, before.get(name), value) for name, value in sorted(write.data.items())
        ]
        for name, old, new in changed or [(None, None, None)]:
            yield self._entry(write, name, _json(old), _json(new), status, code)

    def _entry(
        self, write: Write, name: str | None, old: str | None, new: str | None, status: str, code: str | None
    ) -> Write:
        context = write.context
        data = {
            "user_id": context.user_id,
            "client_id": context.client_id,
            "change_id": write.metadata,
            "table_name": write.table,
            "row_id": write.id,
            "op": str(write.op).lower(),
            "field_name": name,
            "old_value": old,
            "new_value": new,
            "status": status,
            "error_code": code,
        }
        # A repeat that the backend recognises has no second effect at all; of one that it cannot, the content is the name.
        occurrence = [context.received_at.isoformat(), write.index] if context.identified else []
        entry_id = sha256(json.dumps([list(data.values()), occurrence]).encode()).hexdigest()[:32]
        data["created_at"] = context.received_at.isoformat()
        return Write(UpdateType.PUT, self.table, entry_id, data, None, write.index, only_new=True, context=context)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
