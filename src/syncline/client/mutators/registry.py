"""`db.mutators`: the mutators that this app calls, each with its optimistic part."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import msgspec

from syncline.client.mutators.calls import record_call, view_of_calls
from syncline.client.schema import Schema
from syncline.client.statements import ThreadTransaction
from syncline.client.transactions import WriteTransaction
from syncline.errors import ClientError
from syncline.protocol.mutations import MUTATOR_NAME_CHARACTERS_MAX, arguments_text, is_pydantic

__all__ = ["Mutators", "OptimisticPart", "RunInTransaction"]

T = TypeVar("T")

OptimisticPart = Callable[[ThreadTransaction, Any], object]
"""`def function(tx: ThreadTransaction, args: Arguments) -> None`: a plain function, which runs in the writer thread."""

F = TypeVar("F", bound=OptimisticPart)


class RunInTransaction(Protocol):
    """`SyncDatabase.run`."""

    def __call__(self, function: Callable[[ThreadTransaction], T], /) -> Awaitable[T]:
        """Run a function in the writer thread, inside a write transaction."""
        ...


@dataclass(frozen=True, slots=True)
class _Mutator:
    name: str
    model: Any
    optimistic: OptimisticPart | None


class Mutators:
    """Named procedures of the backend, called through the upload queue.

    >>> @db.mutators.register("complete_todo")
    ... def complete_todo(tx: ThreadTransaction, args: CompleteTodo) -> None:
    ...     tx.execute("UPDATE todos SET done = 1 WHERE id = ?", [args.id])
    >>> await db.mutators.call("complete_todo", CompleteTodo(todo_id))

    The function is the optimistic part: what the rows of this device look like until the server's result arrives. None of its writes is
    uploaded, only the call is. The schema needs `mutations_table()`.
    """

    def __init__(self, run: RunInTransaction, schema: Callable[[], Schema]) -> None:
        self._run = run
        self._schema = schema
        self._mutators: dict[str, _Mutator] = {}
        self._inside = False  # an optimistic part is running, in the one thread that writes

    @property
    def names(self) -> list[str]:
        """All names that can be called, sorted."""
        return sorted(self._mutators)

    def register(self, name: str | None = None, *, arguments: Any = None) -> Callable[[F], F]:
        """Make a function the optimistic part of the mutator `name`, or of the one with its own name.

        `arguments`, or the annotation of its second parameter, is the type of the arguments: what is given to `call` is checked by it, and
        the function gets an object of it. Registering again replaces. Raises ClientError for a coroutine function.
        """

        def add(function: F) -> F:
            if inspect.iscoroutinefunction(function):
                raise ClientError(
                    "The optimistic part of a mutator is a plain function: it runs in the writer thread.",
                    hint="Write `def`, not `async def`.",
                )
            model = arguments if arguments is not None else _annotated(function)
            self._add(name or function.__name__, model, function)
            return function

        return add

    def declare(self, name: str, *, arguments: Any = None) -> None:
        """A mutator without an optimistic part: the device shows nothing until the server's result arrives."""
        self._add(name, arguments, None)

    async def call(self, name: str, arguments: Any = None, *, transaction: WriteTransaction | None = None) -> str:
        """Run the optimistic part and queue the call, in one commit; returns the id of the call.

        With `transaction` both are part of that write transaction, in order with what it writes. Raises ClientError for a name that is
        not registered and for arguments that do not fit; what the optimistic part raises, after which nothing is written or queued.
        """
        if transaction is None:
            return await self._run(lambda tx: self.call_within(tx, name, arguments))
        return await transaction.run(
            lambda connection: self.call_within(ThreadTransaction(connection), name, arguments)
        )

    def call_within(self, transaction: ThreadTransaction, name: str, arguments: Any = None) -> str:
        """The same inside of a function that `db.run` has called. Raises as `call`."""
        mutator = self._mutators.get(name)
        if mutator is None:
            raise ClientError(
                f"There is no mutator {name!r} on this device.",
                hint="@db.mutators.register(name) gives it an optimistic part, db.mutators.declare(name) does without one.",
            )
        if self._inside:
            raise ClientError(
                "The optimistic part of a mutator has called another mutator.",
                hint="The server's part does the whole work: let the optimistic part write the rows itself.",
            )
        view = view_of_calls(self._schema())
        given, text = _checked(mutator, arguments)
        optimistic = mutator.optimistic
        self._inside = True
        try:
            return record_call(
                transaction,
                view=view,
                name=name,
                arguments=text,
                optimistic=None if optimistic is None else lambda tx: optimistic(tx, given),
            )
        finally:
            self._inside = False

    def _add(self, name: str, model: Any, optimistic: OptimisticPart | None) -> None:
        if not 1 <= len(name) <= MUTATOR_NAME_CHARACTERS_MAX:
            raise ClientError(f"The name of a mutator has 1 to {MUTATOR_NAME_CHARACTERS_MAX} characters.")
        self._mutators[name] = _Mutator(name, model, optimistic)


def _annotated(function: OptimisticPart) -> Any:
    """The type of the second parameter; None where it says none, or one that cannot be looked up."""
    parameters = list(inspect.signature(function).parameters)
    try:
        hints = typing.get_type_hints(function)
    except NameError:
        return None
    return hints.get(parameters[1]) if len(parameters) > 1 else None


def _checked(mutator: _Mutator, arguments: Any) -> tuple[Any, str]:
    """The arguments as the optimistic part gets them, and as they are sent. Raises ClientError, without values in its message."""
    try:
        text = arguments_text(arguments)
        if is_pydantic(mutator.model):
            return mutator.model.model_validate(msgspec.json.decode(text)), text
        return msgspec.json.decode(text, type=Any if mutator.model is None else mutator.model), text
    except (TypeError, ValueError, RecursionError) as exc:
        raise ClientError(
            f"The arguments of the mutator {mutator.name!r} do not fit: {_reason(exc)}.",
            hint=f"They are declared as {getattr(mutator.model, '__name__', 'an object with names')}.",
        ) from None


def _reason(exc: Exception) -> str:
    """What can be said without quoting a value."""
    text = str(exc)
    return text if text.startswith(("Expected ", "Object missing ", "The arguments ")) else type(exc).__name__
