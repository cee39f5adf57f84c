"""Everything else that the database hands out (streams, crud transactions, the upload queue), for plain code: the same names, no await."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, cast

from syncline.client.blocking.iterators import BlockingIterator, BlockingWatch
from syncline.client.blocking.loop_thread import LoopThread
from syncline.client.blocking.transactions import ReadTransaction, WriteTransaction

__all__ = ["BlockingProxy", "blocking_value", "unwrapped"]


class BlockingProxy:
    """An object of the asynchronous client, whose methods wait. `with` where it has an `async with`."""

    def __init__(self, thread: LoopThread, inner: object) -> None:
        self._thread = thread
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return blocking_value(self._thread, getattr(self._inner, name))

    def __enter__(self) -> Any:
        return blocking_value(self._thread, _call(self._thread, cast("Any", self._inner).__aenter__))

    def __exit__(self, *error: object) -> Any:
        return _call(self._thread, cast("Any", self._inner).__aexit__, *error)

    def __eq__(self, other: object) -> bool:
        return self._inner == (other._inner if isinstance(other, BlockingProxy) else other)

    def __hash__(self) -> int:
        return hash(self._inner)

    def __repr__(self) -> str:
        return f"<blocking {self._inner!r}>"

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._inner) if not name.startswith("_")]


def blocking_value(thread: LoopThread, value: Any) -> Any:
    """A value of the asynchronous client as plain code uses it; what is not asynchronous stays as it is."""
    if inspect.ismethod(value) or inspect.isfunction(value):
        return _method(thread, value)
    kind = cast("type[Any]", type(value))  # pyright: ignore[reportUnknownArgumentType]  # any object
    if kind is list:
        return [blocking_value(thread, entry) for entry in value]
    if hasattr(kind, "__anext__"):
        return _iterator(thread, value)
    return BlockingProxy(thread, value) if _is_asynchronous(kind) else value


def _iterator(thread: LoopThread, items: Any) -> BlockingIterator[Any]:
    def source() -> Any:
        return items

    return BlockingWatch[Any](thread, source) if hasattr(items, "update") else BlockingIterator[Any](thread, source)


def unwrapped(value: Any) -> Any:
    """What a proxy or a blocking transaction stands for; other values as they are."""
    if isinstance(value, BlockingProxy | ReadTransaction | WriteTransaction):
        return value._inner  # noqa: SLF001 - of this package
    return value


def _method(thread: LoopThread, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        return blocking_value(thread, _call(thread, method, *args, **kwargs))

    return call


def _call(thread: LoopThread, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call it in the loop's thread, and wait where there is something to wait for."""
    plain = [unwrapped(argument) for argument in args]

    async def run() -> Any:
        result = method(*plain, **{name: unwrapped(value) for name, value in kwargs.items()})
        return await result if inspect.isawaitable(result) else result

    return thread.call(run)


@functools.cache
def _is_asynchronous(kind: type[Any]) -> bool:
    if not kind.__module__.startswith("syncline.client"):
        return False
    members = (inspect.getattr_static(kind, name) for name in dir(kind))
    return any(inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member) for member in members)
