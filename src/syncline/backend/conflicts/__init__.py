"""What happens when a write meets a row that others have changed: small strategies, one for a table, and how to write one. PURE.

`strategy` (the protocol and its answers), `detection` (a version, a time), `rules` (the app's own, states, chains, values that merge
themselves), `previous` (differences, three-way merges), `merging` (the merges), `recording` and `change_log` (conflicts, and all changes,
as rows that sync back).

A strategy of one's own needs two functions. It says which columns of the current row it wants, and what becomes of the write; the row
is locked between the question and the effect:

```python
class FirstBidWins:
    def needs(self, write: Write) -> Collection[str]:
        return ["bidder"]

    def decide(self, write: Write, current: CurrentRow | None) -> Decision:
        if current is not None and current["bidder"] is not None:
            return Reject("ALREADY_TAKEN", "Somebody was faster.")
        return Apply(write)

TablePolicy(owner=None, columns=["bidder"], conflicts=FirstBidWins())
```

Recipe for CRDT payloads. The document stands in a text column as base64, and each device writes its whole state, or an update, into it.
Updates of a CRDT merge in any order and any number of times, which is all that `MergeValues` asks for. With `pycrdt` (Yjs):

```python
def merge_documents(stored: str, arriving: str) -> str:
    document = pycrdt.Doc()
    for update in (stored, arriving):
        document.apply_update(base64.b64decode(update, validate=True))
    return base64.b64encode(document.get_update()).decode()

TablePolicy(owner="owner_id", columns=["document"], conflicts=MergeValues({"document": merge_documents}))
```

The function raises ValueError for what is no update, as pycrdt does by itself (wrap the errors of other libraries), and the device must
merge what it downloads into its open document in the same way. Where documents grow large, keep updates as rows of an insert-only table
instead: those never conflict.
"""

from __future__ import annotations

from syncline.backend.conflicts.change_log import CHANGES_TABLE_SQL, NO_SUCH_ROW, ChangeLog
from syncline.backend.conflicts.detection import CLOCK_SKEW_S_MAX, CONFLICT, OnStale, VersionColumn
from syncline.backend.conflicts.merging import MERGE_LINES_MAX, Merge, Unmergeable, merge_json, merge_set, merge_text
from syncline.backend.conflicts.previous import IDENTITY_REQUIRED, Delta, ThreeWay
from syncline.backend.conflicts.recording import CONFLICTS_TABLE_SQL, RecordConflicts
from syncline.backend.conflicts.rules import BusinessRules, InOrder, MergeValues, Rule, Transitions
from syncline.backend.conflicts.strategy import (
    Apply,
    ConflictStrategy,
    CurrentRow,
    Decision,
    Keep,
    LastWriteWins,
    Reject,
)

__all__ = [
    "CHANGES_TABLE_SQL",
    "CLOCK_SKEW_S_MAX",
    "CONFLICT",
    "CONFLICTS_TABLE_SQL",
    "IDENTITY_REQUIRED",
    "MERGE_LINES_MAX",
    "NO_SUCH_ROW",
    "Apply",
    "BusinessRules",
    "ChangeLog",
    "ConflictStrategy",
    "CurrentRow",
    "Decision",
    "Delta",
    "InOrder",
    "Keep",
    "LastWriteWins",
    "Merge",
    "MergeValues",
    "OnStale",
    "RecordConflicts",
    "Reject",
    "Rule",
    "ThreeWay",
    "Transitions",
    "Unmergeable",
    "VersionColumn",
    "merge_json",
    "merge_set",
    "merge_text",
]
