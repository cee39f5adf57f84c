"""One sync stream over a WebSocket: from its request to its last frame. A line is made only when the client has asked for one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from syncline.api.answers import RouteNotFound
from syncline.api.rsocket_payloads import STREAM_PATH, decode_request, decode_route
from syncline.api.stream_log import StreamLog, tells_each_checkpoint
from syncline.api.stream_registry import OpenStream as OpenStreamEntry
from syncline.api.stream_registry import StreamRegistry
from syncline.auth.verifier import TokenVerifier, VerifiedToken
from syncline.errors import SynclineError, TokenInvalid, TooManyConnections
from syncline.protocol.line_formats import LineFormat
from syncline.protocol.requests import StreamRequest
from syncline.protocol.rsocket.connection import (
    ConnectionEvent,
    LineProduced,
    OpenStream,
    StreamCompleted,
    StreamFailed,
)
from syncline.protocol.rsocket.limits import RSocketLimits
from syncline.sync.stream import StreamContext, SyncStream
from syncline.sync_config.plan import ConnectionData

__all__ = ["SOMETHING_WRONG", "ConnectionLost", "Peer", "Places", "Shared", "StreamRun", "told_text"]

log = logging.getLogger(__name__)

SOMETHING_WRONG = "[PSYNC_S2001] Something went wrong."


class ConnectionLost(Exception):
    """The client has gone, or takes nothing any more."""


class Places:
    """How many connections and streams a process may have: a connection has one place, which its first stream shares."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._free = count_max

    def take(self) -> None:
        """Take one. Raises TooManyConnections."""
        if self._free <= 0:
            raise TooManyConnections(f"This process serves {self._count_max} connections, as many as it may.")
        self._free -= 1

    def give_back(self) -> None:
        """Let another have it."""
        self._free += 1
        assert self._free <= self._count_max, "a place is given back once"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all WebSocket connections of a process share."""

    context: StreamContext
    verifier: TokenVerifier
    rsocket_limits: RSocketLimits
    places: Places
    registry: StreamRegistry


@dataclass(frozen=True, slots=True)
class Peer:
    """Who connected, as SETUP says. `token_text` is checked again for each stream: a connection may outlive its token."""

    token_text: str
    agent: str
    metadata_mime_type: str
    data_mime_type: str


def told_text(exc: SynclineError) -> str:
    """What a client is told of an error, which is logged as well. Hints and causes stay in our log."""
    log.warning("Request refused: %s", exc, extra={"event": "api.refused", "code": exc.error_code})
    return f"[{exc.error_code}] {exc.message}"


class StreamRun:
    """Serves one stream. `serve` gives the event that ends it; `task` runs it, and is cancelled when nobody wants it any more.

    `wanted_lines` says how many lines the client wants; `happened` tells the machine, and returns when its frames are written.
    """

    def __init__(
        self,
        shared: Shared,
        peer: Peer,
        opened: OpenStream,
        *,
        shares_place: bool,
        wanted_lines: Callable[[], int],
        happened: Callable[[ConnectionEvent], Awaitable[None]],
    ) -> None:
        self.stream_id = opened.stream_id
        self.task: asyncio.Task[None] | None = None
        self.end_reason = "client"  # of the log, where the stream does not come to its own end
        self._shared = shared
        self._peer = peer
        self._opened: OpenStream | None = opened  # until it is decoded
        self._shares_place = shares_place
        self._wanted_lines = wanted_lines
        self._happened = happened
        self._waiting: asyncio.Future[None] | None = None  # while the client wants no line; an Event would cost 1 KiB
        self._is_revoked = False

    def go_on(self) -> None:
        """The client wants lines again."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def stop(self, reason: str = "client") -> None:
        """Nobody wants it any more; `reason` is for the log."""
        self.end_reason = reason
        if self.task is not None:
            self.task.cancel()

    def revoke(self) -> None:
        """The user is not to have it any more. Safe to call twice."""
        self._is_revoked = True
        self.stop("revoked")

    async def serve(self) -> StreamCompleted | StreamFailed:
        """Send the stream's lines. Raises ConnectionLost."""
        try:
            await self._serve_in_place()
        except SynclineError as exc:
            return self._failed(told_text(exc))
        except ConnectionLost:
            raise
        except asyncio.CancelledError:
            if not self._is_revoked or self.task is None:
                raise
            self.task.uncancel()
            return self._failed(told_text(TokenInvalid("The access of this user has been revoked.")))
        except Exception:
            log.exception("A stream failed", extra={"event": "sync.crash"})
            return self._failed(SOMETHING_WRONG)
        return StreamCompleted(self.stream_id, time.monotonic())

    def _failed(self, message: str) -> StreamFailed:
        return StreamFailed(self.stream_id, message, time.monotonic())

    async def _serve_in_place(self) -> None:
        if not self._shares_place:
            self._shared.places.take()
        try:
            await self._send_lines(*await self._prepare())
        finally:
            if not self._shares_place:
                self._shared.places.give_back()

    def _request(self) -> StreamRequest:
        """What the client asks for. Raises RouteNotFound or RequestInvalid."""
        opened, self._opened = self._opened, None
        assert opened is not None, "a request is decoded once"
        if decode_route(opened.metadata, self._peer.metadata_mime_type) != STREAM_PATH:
            raise RouteNotFound("There is no such route.")
        return decode_request(opened.data, self._peer.data_mime_type)

    async def _prepare(self) -> tuple[SyncStream, OpenStreamEntry, float]:
        """The stream, its entry, the end of its token. The request, which may be large, is not kept for as long as the stream is."""
        request = self._request()
        token = await self._shared.verifier.verify(self._peer.token_text, now_s=time.time())
        stream = SyncStream(
            self._shared.context,
            connection=ConnectionData(token=token.payload, parameters=request.parameters or {}),
            request=request,
            expires_at_s=token.expires_at_s,
            line_format=LineFormat.BSON,
            keepalives=False,
            tells_each_checkpoint=tells_each_checkpoint(),
        )
        return stream, self._register(request, token), token.expires_at_s

    async def _send_lines(self, stream: SyncStream, registered: OpenStreamEntry, expires_at_s: float) -> None:
        told = stream.observer = StreamLog(registered, bson=True)
        bursts = stream.bursts()
        lines: list[bytes] = []  # of the burst under way, the last one first; an idle stream keeps none
        is_open = False
        try:
            while await self._until_wanted(expires_at_s):
                if not lines:
                    burst = await anext(bursts, None)
                    if burst is None:
                        break
                    lines = burst.lines[::-1]
                    del burst
                    continue
                if not is_open:
                    is_open = True
                    told.tell_opened()
                registered.bytes_sent += len(lines[-1])
                await self._happened(LineProduced(self.stream_id, lines.pop()))
                registered.operations_sent = stream.operations_sent
            self.end_reason = stream.end_reason or "expired"
        except ConnectionLost:
            raise
        except Exception:
            self.end_reason = "error"
            raise
        finally:
            await bursts.aclose()
            self._shared.registry.close(registered)
            if is_open:
                told.tell_closed(stream, reason=self.end_reason)

    def _register(self, request: StreamRequest, token: VerifiedToken) -> OpenStreamEntry:
        """Before the client wants a line: what it may ask for later can be ended from now on."""
        return self._shared.registry.open(
            user_id=token.user_id,
            client_id=request.client_id,
            user_agent=self._peer.agent,
            transport="websocket",
            token_expires_s=token.expires_at_s,
            end=self.revoke,
        )

    async def _until_wanted(self, expires_at_s: float) -> bool:
        """True when the client wants a line, False when its token expires before."""
        while not self._wanted_lines():
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(expires_at_s - time.time()):
                    await self._waiting
            except TimeoutError:
                return False
            finally:
                self._waiting = None
        return True
