"""`for` loops over what the database brings in the course of time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, Protocol, Self, TypeVar

from syncline.client.blocking.loop_thread import LoopThread
from syncline.client.rows import Parameters

__all__ = ["BlockingIterator", "BlockingWatch"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Updatable(Protocol[T_co]):
    def update(self, parameters: Parameters | None = None, *, sql: str | None = None, **named: Any) -> int: ...
    def __aiter__(self) -> AsyncIterator[T_co]: ...
    async def __anext__(self) -> T_co: ...


class BlockingIterator(Generic[T]):
    """Waits for one item after the other: `for item in …`. One thread at a time. A context manager, which closes it."""

    def __init__(self, thread: LoopThread, source: Callable[[], AsyncIterator[T]]) -> None:
        self._thread = thread
        self._items = thread.call(lambda: _made(source))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._next(None)

    def get(self, timeout: float | None = None) -> T:
        """The next item. Raises TimeoutError when none comes within `timeout` seconds (nothing is lost), StopIteration at the end."""
        return self._next(timeout)

    def close(self) -> None:
        """End it. Can be called again."""
        close: Any = getattr(self._items, "aclose", None)
        if close is not None:
            self._thread.call(close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self, timeout: float | None) -> T:
        # StopAsyncIteration cannot leave a coroutine, and StopIteration no future: the end comes as an empty tuple.
        found = self._thread.call(lambda: _step(self._items), timeout=timeout)
        if not found:
            raise StopIteration
        return found[0]


class BlockingWatch(BlockingIterator[T]):
    """The results of a watched query, whose parameters can be changed."""

    def __init__(self, thread: LoopThread, source: Callable[[], _Updatable[T]]) -> None:
        self._watch: _Updatable[T] | None = None

        def make() -> AsyncIterator[T]:
            watch = self._watch = source()
            return watch

        super().__init__(thread, make)

    def update(self, parameters: Parameters | None = None, *, sql: str | None = None, **named: Any) -> int:
        """Watch with other parameters from now on; results of older ones do not come any more. Returns the new generation."""
        watch = self._watch
        assert watch is not None

        async def change() -> int:
            return watch.update(parameters, sql=sql, **named)

        return self._thread.call(change)


async def _made(source: Callable[[], AsyncIterator[T]]) -> AsyncIterator[T]:
    return aiter(source())


async def _step(items: AsyncIterator[T]) -> tuple[T] | tuple[()]:
    try:
        return (await anext(items),)
    except StopAsyncIteration:
        return ()
