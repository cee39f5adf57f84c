"""The server's mutators by name, and the step of a transaction that a call becomes (write path reference, 2.4)."""

from __future__ import annotations

import inspect
import logging
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, TypeVar

import msgspec

from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.backend.mutators.arguments import ReadArguments, argument_reader
from syncline.backend.mutators.call import JudgeWrite, MutationRefused, MutatorCall
from syncline.backend.persisters.base import (
    CLIENT_FORKED,
    OpenTransaction,
    UploadIdentity,
    Write,
    WriteContext,
    WriteRefused,
)
from syncline.backend.policies import TablePolicy, TableRules
from syncline.backend.rule_failures import rule_failed
from syncline.errors import ConfigError
from syncline.protocol.crud import CrudOperation, ResultStatus, TransactionResult, UpdateType
from syncline.protocol.mutations import ARGUMENTS_COLUMN, MUTATIONS_TABLE, MUTATOR_NAME_CHARACTERS_MAX, NAME_COLUMN

__all__ = ["Allow", "CallRules", "MutatorFunction", "Mutators"]

Allow = Callable[[WriteContext], bool]
"""Whether a user may call a mutator, by `context.user_id` and `context.claims`."""

MutatorFunction = Callable[..., Awaitable[None]]
"""`async def function(call: MutatorCall, args: Arguments) -> None`."""

F = TypeVar("F", bound=MutatorFunction)

log = logging.getLogger(__name__)

_DONE = TransactionResult(ResultStatus.SUCCESS)
_CALLS = "syncline calls"  # in the place of a client id


@dataclass(frozen=True, slots=True)
class _Mutator:
    name: str
    function: MutatorFunction
    read: ReadArguments
    allow: Allow | None


class Mutators:
    """Procedures that devices may call. Nothing else is callable: an unknown name is refused (UNKNOWN_MUTATOR).

    >>> mutators = Mutators()
    >>> @mutators.register("complete_todo")
    ... async def complete_todo(call: MutatorCall, args: CompleteTodo) -> None:
    ...     await call.patch("todos", args.id, {"done": 1})

    `table` is the insert-only table of the devices that holds calls. Give it to the backend: `SyncBackend(mutators=mutators, …)`.
    """

    def __init__(self, *, table: str = MUTATIONS_TABLE) -> None:
        self.table = table
        self._mutators: dict[str, _Mutator] = {}

    @property
    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._mutators)

    def register(
        self, name: str | None = None, *, arguments: Any = None, allow: Allow | None = None
    ) -> Callable[[F], F]:
        """Make a coroutine function callable under `name`, or under its own name.

        The type of the arguments is `arguments`, or the annotation of the function's second parameter. `allow` says who may call; without
        it every signed-in user may. Raises ConfigError for a name that is taken, a plain function, or arguments without a type.
        """

        def add(function: F) -> F:
            called = name or function.__name__
            if called in self._mutators:
                raise ConfigError(f"The mutator {called!r} is registered twice.")
            if not called or len(called) > MUTATOR_NAME_CHARACTERS_MAX:
                raise ConfigError(f"The name of a mutator has 1 to {MUTATOR_NAME_CHARACTERS_MAX} characters.")
            if not inspect.iscoroutinefunction(function):
                raise ConfigError(f"The mutator {called!r} must be a coroutine function.", hint="async def …")
            model = arguments if arguments is not None else _annotated(called, function)
            self._mutators[called] = _Mutator(called, function, argument_reader(model), allow)
            return function

        return add

    def write(self, index: int, entry: CrudOperation, context: WriteContext, judge: JudgeWrite) -> Write:
        """The step of a transaction that a call becomes. Raises WriteRefused for what is no call of a mutator that the user may make."""
        data = entry.op_data or {}
        name = data.get(NAME_COLUMN)
        if entry.op is not UpdateType.PUT or not isinstance(name, str):
            message = f"{self.table} takes calls of mutators only: inserted rows with a name."
            raise WriteRefused("SCHEMA_MISMATCH", message, operation_index=index)
        mutator = self._mutators.get(name)
        if mutator is None:
            message = f"There is no mutator {name[:NAME_CHARACTERS_SHOWN_MAX]!r}."
            raise WriteRefused("UNKNOWN_MUTATOR", message, operation_index=index)
        _check_allowed(mutator, context, index)
        sent = data.get(ARGUMENTS_COLUMN)
        arguments = mutator.read(sent, index)
        identity = _identity(entry, name, sent, context)

        async def run(transaction: OpenTransaction) -> None:
            if await _is_repeat(transaction, identity, index):
                log.info("A call of %s was repeated", name, extra={"event": "backend.call_repeated", "mutator": name})
                return
            call = MutatorCall(entry.id, name, context, transaction, judge, index)
            await _perform(mutator, call, arguments, index)

        return Write(UpdateType.PUT, self.table, entry.id, {}, None, index, context=context, procedure=run)


class CallRules(TableRules):
    """The policies of a backend that has mutators too: operations on their table are calls."""

    def __init__(self, tables: Mapping[str, TablePolicy], mutators: Mutators) -> None:
        super().__init__(tables)
        if mutators.table in tables:
            raise ConfigError(f"{mutators.table} is the table of the mutators' calls: it cannot have a policy too.")
        self._mutators = mutators

    def write(self, index: int, entry: CrudOperation, context: WriteContext) -> Write:
        """The write of an operation, or the call that it is. Raises WriteRefused, RetryLater."""
        if entry.table == self._mutators.table:
            return self._mutators.write(index, entry, context, super().write)
        return super().write(index, entry, context)


def _annotated(name: str, function: MutatorFunction) -> Any:
    """The annotation of the second parameter."""
    parameters = list(inspect.signature(function).parameters)
    try:
        hints = typing.get_type_hints(function)
    except NameError as exc:
        raise ConfigError(
            f"The annotations of the mutator {name!r} cannot be read: {exc}.", hint="register(name, arguments=TheType)"
        ) from exc
    if len(parameters) < 2 or parameters[1] not in hints:
        raise ConfigError(
            f"The mutator {name!r} has no type for its arguments.",
            hint="async def function(call: MutatorCall, args: Arguments), or register(name, arguments=Arguments).",
        )
    return hints[parameters[1]]


def _check_allowed(mutator: _Mutator, context: WriteContext, index: int) -> None:
    if mutator.allow is None:
        return
    try:
        allowed = mutator.allow(context)
    except Exception as exc:
        raise rule_failed(exc, mutator.name) from exc
    if allowed is not True:
        message = f"The user may not call the mutator {mutator.name!r}."
        raise WriteRefused("UNAUTHORIZED", message, operation_index=index)


def _identity(entry: CrudOperation, name: str, sent: Any, context: WriteContext) -> UploadIdentity:
    """A call is known by its own id too: official SDKs send no other, and a device that takes a new client id sends again.

    All calls of a user are those of one device that is none, each under a number made of its id: where persisters keep a row for each
    device, it is one. Calls of one user wait for each other.
    """
    number = int.from_bytes(sha256(entry.id.encode()).digest()[:8]) >> 1  # what a bigint holds
    content = msgspec.json.encode([entry.id, name, sent], order="sorted")
    return UploadIdentity(context.user_id, _CALLS, number, number, sha256(content).hexdigest())


async def _is_repeat(transaction: OpenTransaction, identity: UploadIdentity, index: int) -> bool:
    try:
        return await transaction.claim(identity, _DONE) is not None
    except WriteRefused as exc:
        if exc.error_code != CLIENT_FORKED:
            raise
        message = "The id of this call was used for another call."
        raise WriteRefused("CONFLICT", message, operation_index=index) from exc


async def _perform(mutator: _Mutator, call: MutatorCall, arguments: Any, index: int) -> None:
    """Run the function; its refusal is the verdict. All else that it raises is the persister's to judge."""
    try:
        await mutator.function(call, arguments)
    except MutationRefused as exc:
        raise WriteRefused(exc.code, exc.message, operation_index=index, details=exc.details) from exc
