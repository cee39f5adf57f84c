"""Write checkpoints that a replicated table holds: rows of `event_definitions` to user keys and values (sync config reference, 9).

The app's backend writes (user_id, client_id, checkpoint) into a table of its own, in the transaction of the upload. When replication
has passed the row, the user's streams show the value: no look at the source's head is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.compiler.model import EventDefinition
from syncline.sync_config.evaluation.event_payloads import payload_function
from syncline.sync_config.plan import CHECKPOINT_EVENTS, TablePattern

__all__ = ["CustomCheckpoint", "CustomCheckpointFeed", "RowFeed"]

CHECKPOINT_MAX = 2**63 - 1


class CustomCheckpoint(NamedTuple):
    """A user key (`sub`, or `sub/client_id`) and the value that its streams show from now on."""

    user_key: str
    value: int


RowFeed = Callable[[Sequence[SyncValue]], CustomCheckpoint | None]
"""From a complete row to its write checkpoint; None for a row without one. Raises EvaluationError, as row evaluators report."""


class CustomCheckpointFeed:
    """The write checkpoints of one sync config."""

    def __init__(self, events: Sequence[EventDefinition]) -> None:
        self._payloads = tuple(
            payload for event in events if event.name in CHECKPOINT_EVENTS for payload in event.payloads
        )

    def __bool__(self) -> bool:
        """Whether the config has write checkpoints of its own: the service then makes none (protocol reference, 5.4)."""
        return bool(self._payloads)

    @property
    def table_patterns(self) -> tuple[TablePattern, ...]:
        """The source tables that hold them: replication has to follow these too."""
        return tuple(dict.fromkeys(payload.pattern for payload in self._payloads))

    def followed(self, patterns: Sequence[TablePattern]) -> tuple[TablePattern, ...]:
        """These patterns, and those of the tables that hold write checkpoints."""
        return tuple(dict.fromkeys([*patterns, *self.table_patterns]))

    def of_table(self, schema: str, name: str, columns: Sequence[str]) -> RowFeed | None:
        """What rows of a source table feed, whose values come in the order of `columns`; None for a table that holds none.

        Where several payloads mean the table, the first that takes a row counts.
        """
        functions = [
            found
            for payload in self._payloads
            if (found := payload_function(payload, schema, name, columns)) is not None
        ]
        if not functions:
            return None

        def feed(row: Sequence[SyncValue]) -> CustomCheckpoint | None:
            for function in functions:
                payload = function(row)
                if payload is not None:
                    return _checkpoint(payload)
            return None

        return feed


def _checkpoint(payload: dict[str, SyncValue]) -> CustomCheckpoint | None:
    """A payload without a user or without a whole number as its checkpoint means nothing."""
    user_id, client_id, value = payload.get("user_id"), payload.get("client_id"), payload.get("checkpoint")
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if not isinstance(number, int) or not 0 <= number <= CHECKPOINT_MAX or not isinstance(user_id, (str, int)):
        return None
    if client_id is not None and not isinstance(client_id, (str, int)):
        return None
    # As for streams: an empty client id counts as none.
    user_key = f"{user_id}/{client_id}" if client_id not in (None, "") else str(user_id)
    return CustomCheckpoint(user_key, number)
