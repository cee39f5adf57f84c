"""Only the newest call counts: for searches while somebody types, and for views whose parameters change (requirement: no stale results)."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from syncline.errors import ClientError

__all__ = ["Superseded", "latest"]

P = ParamSpec("P")
T = TypeVar("T")


class Superseded(ClientError):
    """A newer call of the same `latest` function was made: the older one was cancelled, and its result is nobody's."""

    def __init__(self) -> None:
        super().__init__(
            "A newer call has taken the place of this one.", hint="Ignore it: the newer call brings the result."
        )


def latest(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A function of which only the newest call lives: each call cancels the one before, which then raises Superseded.

    >>> @latest
    ... async def search(text: str) -> list[Row]:
    ...     return await db.get_all("SELECT * FROM lists WHERE name LIKE ?", [f"%{text}%"])

    The result of an older call is dropped even where that call could not be cancelled any more.
    """
    newest: asyncio.Task[T] | None = None

    @functools.wraps(function)
    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal newest
        older, newest = newest, asyncio.create_task(function(*args, **kwargs))
        mine = newest
        if older is not None:
            older.cancel()
        try:
            await asyncio.wait([mine])
        except asyncio.CancelledError:
            mine.cancel()
            raise
        if newest is not mine:
            if not mine.cancelled():
                mine.exception()  # asked for, so that nobody warns of an error that is nobody's
            raise Superseded
        return mine.result()

    return call
