"""What a ready connector does with a transaction that its backend refuses (write path reference, 3, "Poison transactions")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from syncline.client.dead_letters import Refusal
from syncline.client.upload_queue import CrudTransaction

__all__ = ["ForbiddenPolicy", "RejectPolicy", "UploadPolicy"]

RejectPolicy = Literal["dead_letter", "block", "drop", "skip_entry"]
ForbiddenPolicy = Literal["block", "dead_letter"]


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """What becomes of writes that a backend refuses for good.

    `on_reject`:
      `dead_letter` (default)  they leave the queue for `db.dead_letters`, and the queue goes on;
      `block`                  they stay, and everything behind them, as with the official SDKs; `upload_error` says why;
      `drop`                   they leave the queue and are gone, with a line in the log;
      `skip_entry`             backends that take single entries only: the refused entry becomes a dead letter, the rest goes on.
    A refusal that the write API does not leave to the device (`requires_client_handling: false`) never blocks. It makes a dead letter too,
    unless the backend has a durable record of what it refuses: its answer says so (`dead_lettered: true`, as `syncline.backend` does where
    it keeps letters), or `backend_keeps_refusals` does. False makes a letter on the device whatever the answer says.

    `on_forbidden`: HTTP 403 blocks by default, because roles and clocks get put right; `dead_letter` takes it for a refusal
    (the write API has refusals of its own: there it always blocks).
    `max_attempts`: after so many failures (5xx, or "retry later") of the backend at one transaction it counts as refused, with the code
    ATTEMPTS_EXHAUSTED; None: never. An unreachable backend, a gateway's 502 to 504, and 401, 403, 408, 425, 429 are no attempts.

    `on_rejected` is told of each refused transaction after it has left the queue. `decide` is asked about a transaction that the backend
    leaves to the app: "discard" gives it up, "retain" keeps it, to be sent and asked about again. Both may be coroutine functions. What
    `decide` raises keeps the transaction.
    """

    on_reject: RejectPolicy = "dead_letter"
    backend_keeps_refusals: bool | None = None
    on_forbidden: ForbiddenPolicy = "block"
    max_attempts: int | None = None
    on_rejected: Callable[[CrudTransaction, Refusal], Awaitable[None] | None] | None = None
    decide: (
        Callable[[CrudTransaction, Refusal], Awaitable[Literal["retain", "discard"]] | Literal["retain", "discard"]]
        | None
    ) = None

    def __post_init__(self) -> None:
        if self.on_reject not in ("dead_letter", "block", "drop", "skip_entry"):
            raise ValueError(f"on_reject is {self.on_reject!r}; it can be dead_letter, block, drop or skip_entry.")
        if self.on_forbidden not in ("block", "dead_letter"):
            raise ValueError(f"on_forbidden is {self.on_forbidden!r}; it can be block or dead_letter.")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ValueError("max_attempts must be at least 1.")
