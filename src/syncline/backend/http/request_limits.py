"""What one backend takes at a time, and from one user: bodies, requests, bytes. In memory, for one process and its event loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from dataclasses import dataclass

from syncline.backend.http.messages import BodyTooLarge, BodyTooSlow, Overloaded, TooManyRequests
from syncline.backend.limits import (
    BODIES_BYTES_MAX,
    BODY_BYTES_MAX,
    BODY_SECONDS_MAX,
    REQUEST_BURST_MAX,
    REQUESTS_PER_SECOND_MAX,
    RETRY_AFTER_MS,
    UPLOADS_AT_ONCE_MAX,
    USERS_RATED_MAX,
)
from syncline.errors import ConfigError

__all__ = ["Admission", "RequestLimits", "TokenBuckets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLimits:
    """Limits of one backend; the defaults and their reasons are in `backend.limits`. Raises ConfigError for one that nothing could pass.

    Each process counts for itself: four workers take four times as much from one user. `requests_per_second` None counts nothing.
    """

    body_bytes: int = BODY_BYTES_MAX
    bodies_bytes: int = BODIES_BYTES_MAX
    body_seconds: float = BODY_SECONDS_MAX
    uploads_at_once: int = UPLOADS_AT_ONCE_MAX
    requests_per_second: float | None = REQUESTS_PER_SECOND_MAX
    burst: int = REQUEST_BURST_MAX
    users_rated: int = USERS_RATED_MAX

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"RequestLimits({name}={value!r}): a limit must be above 0.")
        if self.bodies_bytes < self.body_bytes:
            raise ConfigError("RequestLimits: bodies_bytes must have room for one body of body_bytes.")


class TokenBuckets:
    """A request rate for each user: `burst` at once, then `per_second`. Remembers `users_max` users; the longest unseen are forgotten.

    Who is forgotten has a full bucket again: so a flood of users cannot take more memory, and nobody is refused for it.
    """

    def __init__(self, *, per_second: float, burst: int, users_max: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._users_max = users_max
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # user: requests left, when counted (s)

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, user_id: str, *, now_s: float) -> float:
        """Count a request; 0 where it may go on, else the seconds until one may. `now_s` is any clock that never goes back."""
        left, counted_s = self._buckets.pop(user_id, (float(self._burst), now_s))
        left = min(self._burst, left + (now_s - counted_s) * self._per_second)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._per_second
        self._buckets[user_id] = (left if wait_s else left - 1, now_s)
        if len(self._buckets) > self._users_max:
            self._buckets.popitem(last=False)
        return wait_s


class Admission:
    """Lets requests in, or refuses them with when to come back. `clock` gives seconds."""

    def __init__(self, limits: RequestLimits, clock: Callable[[], float]) -> None:
        self.limits = limits
        self._clock = clock
        self._buckets = (
            TokenBuckets(per_second=limits.requests_per_second, burst=limits.burst, users_max=limits.users_rated)
            if limits.requests_per_second is not None
            else None
        )
        self._uploads = 0
        self._bodies_bytes = 0

    def check_rate(self, user_id: str) -> None:
        """Count a request of this user. Raises TooManyRequests."""
        wait_s = self._buckets.take(user_id, now_s=self._clock()) if self._buckets is not None else 0.0
        if wait_s > 0:
            raise TooManyRequests(math.ceil(wait_s))

    @contextlib.asynccontextmanager
    async def body(self, parts: AsyncIterable[bytes], *, bytes_max: int, announced: int) -> AsyncGenerator[bytes]:
        """Read a body and hold a place for its upload until the end of the block; `announced` are the bytes that the client speaks of.

        A slow sender holds no place: one is taken when the body is there. Raises BodyTooLarge, BodyTooSlow, Overloaded, BodyIncomplete.
        """
        if announced > bytes_max:
            raise BodyTooLarge(bytes_max)
        self._check_place()
        body = bytearray()
        try:
            await self._read(body, parts, bytes_max)
            self._check_place()
            self._uploads += 1
            try:
                yield bytes(body)
            finally:
                self._uploads -= 1
        finally:
            self._bodies_bytes -= len(body)

    async def _read(self, body: bytearray, parts: AsyncIterable[bytes], bytes_max: int) -> None:
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for part in parts:
                    body += part
                    self._bodies_bytes += len(part)
                    if len(body) > bytes_max:
                        raise BodyTooLarge(bytes_max)
                    if self._bodies_bytes > self.limits.bodies_bytes:
                        raise _overloaded()
        except TimeoutError:
            raise BodyTooSlow(self.limits.body_seconds) from None

    def _check_place(self) -> None:
        if self._uploads >= self.limits.uploads_at_once:
            raise _overloaded()


def _overloaded() -> Overloaded:
    return Overloaded(max(1, round(RETRY_AFTER_MS / 1000)))
