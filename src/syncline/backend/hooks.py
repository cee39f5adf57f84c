"""The app's own code on every layer of an upload: what may be hooked in, and how far its failures reach.

| Hook | When | What it raises, or how long it takes |
|---|---|---|
| `before_transaction` | first of all | WriteRefused refuses; anything else: the device comes back later |
| `authorize` | next; False is UNAUTHORIZED | as above |
| `map` | for each operation, before policies: see `mapping` | as above |
| `before_op`, `after_op` | around each write, in the database transaction, with its connection | as above; nothing is applied |
| `after_commit` | behind the answer, once there is an effect | logged; the answer does not wait |
| `on_fatal` | behind the answer, for each new refusal | logged; the answer does not wait |
| `on_dead_letter` | behind the answer, for each new letter | logged; the answer does not wait |

Each has `seconds_max`; a mapper has TRANSACTION_SECONDS_MAX for all operations of a transaction. Failures before the COMMIT, hanging among
them, count as failures of unknown cause (`UnknownFailure`) unless the hook raises WriteRefused or RetryLater. Hooks behind the answer end
with the process: what must not be lost is written by `after_op`, into a table of the same database. Facts: docs/reference/write-path.md,
2.3 and 7.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from syncline.backend.limits import HOOK_SECONDS_MAX, HOOKS_RUNNING_MAX
from syncline.backend.persisters.base import RetryLater, UnknownFailure, Write, WriteContext, WriteRefused
from syncline.backend.rule_failures import log_failure
from syncline.protocol.crud import CrudTransaction, TransactionResult

if TYPE_CHECKING:
    from syncline.backend.dead_letters.letters import DeadLetter
    from syncline.backend.mapping import Mapper

__all__ = ["Hooks", "HooksBehindAnswers", "OperationHooks", "call_before_commit"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")

OperationHook = Callable[[Any, Write], Awaitable[None]]
"""Gets the database connection of the transaction, as the persister's driver has it, and the write."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Coroutine functions of the app; None for nothing. `SyncBackend(hooks=Hooks(after_commit=notify))`."""

    before_transaction: Callable[[CrudTransaction, WriteContext], Awaitable[None]] | None = None
    authorize: Callable[[CrudTransaction, WriteContext], Awaitable[bool]] | None = None
    map: Mapper | None = None
    before_op: OperationHook | None = None
    after_op: OperationHook | None = None
    after_commit: Callable[[CrudTransaction, WriteContext], Awaitable[None]] | None = None
    on_fatal: Callable[[CrudTransaction, WriteContext, TransactionResult], Awaitable[None]] | None = None
    on_dead_letter: Callable[[DeadLetter], Awaitable[None]] | None = None
    seconds_max: float = HOOK_SECONDS_MAX

    @property
    def operations(self) -> OperationHooks | None:
        """The hooks around each write; None where there are none, so that a persister need not look further."""
        if self.before_op is None and self.after_op is None:
            return None
        return OperationHooks(self.before_op, self.after_op, self.seconds_max)


@dataclass(frozen=True, slots=True)
class OperationHooks:
    """What a persister calls around each write, inside its transaction. `passing` are its driver's own errors, which it classifies."""

    before_op: OperationHook | None = None
    after_op: OperationHook | None = None
    seconds_max: float = HOOK_SECONDS_MAX

    async def before(self, connection: Any, write: Write, *, passing: tuple[type[Exception], ...] = ()) -> None:
        """Call `before_op`. Raises WriteRefused, RetryLater, and what is `passing`."""
        await self._around(self.before_op, "before_op", connection, write, passing)

    async def after(self, connection: Any, write: Write, *, passing: tuple[type[Exception], ...] = ()) -> None:
        """Call `after_op`. Raises as `before`."""
        await self._around(self.after_op, "after_op", connection, write, passing)

    async def _around(
        self,
        hook: OperationHook | None,
        name: str,
        connection: Any,
        write: Write,
        passing: tuple[type[Exception], ...],
    ) -> None:
        if hook is None:
            return
        try:
            await call_before_commit(name, hook(connection, write), passing=passing, seconds_max=self.seconds_max)
        except WriteRefused as exc:
            if exc.operation_index is None:
                exc.operation_index = write.index
            raise


async def call_before_commit(
    name: str,
    running: Awaitable[_T],
    *,
    passing: tuple[type[Exception], ...] = (),
    seconds_max: float = HOOK_SECONDS_MAX,
) -> _T:
    """What a hook returns. Raises WriteRefused and RetryLater as it does; UnknownFailure for everything else but what is `passing`."""
    try:
        async with asyncio.timeout(seconds_max):
            return await running
    except (WriteRefused, RetryLater):
        raise
    except passing:
        raise
    except Exception as exc:
        log_failure(exc, f"The hook {name} failed", hook=name)
        raise UnknownFailure(f"A hook of this backend failed ({name}).") from exc


class HooksBehindAnswers:
    """Runs hooks that no answer waits for: HOOKS_RUNNING_MAX at a time, HOOK_SECONDS_MAX each."""

    def __init__(self, *, seconds_max: float = HOOK_SECONDS_MAX, running_max: int = HOOKS_RUNNING_MAX) -> None:
        self._seconds_max = seconds_max
        self._running_max = running_max
        self._running: set[asyncio.Task[None]] = set()

    def start(self, name: str, hook: Callable[[], Awaitable[None]]) -> None:
        """Begin a hook; it is left out, with a line in the log, where too many are running."""
        if len(self._running) >= self._running_max:
            log.error(
                "Left out %s: %d hooks are running", name, self._running_max, extra={"event": "backend.hook_left_out"}
            )
            return
        task = asyncio.get_running_loop().create_task(self._run(name, hook), name=f"hook {name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Wait for what is running; each has its time."""
        while self._running:
            await asyncio.wait(self._running)

    async def _run(self, name: str, hook: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(self._seconds_max):
                await hook()
        except Exception as exc:
            log_failure(exc, f"The hook {name} failed", hook=name)
