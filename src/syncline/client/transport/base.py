"""What a transport is to the rest of the client, and the limits that all of them share.

A transport brings the lines of one sync stream, and asks for write checkpoints. It knows no database and decides nothing: errors go to
the sync loop, which tells the app and tries again. This module and `choice` import no HTTP library; the transports do, when one is made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import ClassVar

from syncline.client.connector import Credentials
from syncline.protocol.ndjson import LINE_BYTES_MAX
from syncline.protocol.requests import StreamRequest

__all__ = [
    "CONNECT_TIMEOUT_S",
    "READ_IDLE_TIMEOUT_S",
    "REQUEST_TIMEOUT_S",
    "RESPONSE_TIMEOUT_S",
    "Transport",
    "TransportLimits",
]

CONNECT_TIMEOUT_S = 15.0  # seconds until a socket must be open, TLS included
RESPONSE_TIMEOUT_S = 30.0  # seconds until a stream must be answered; the service evaluates the first checkpoint before
READ_IDLE_TIMEOUT_S = 45.0  # seconds without a byte; the service sends a keepalive every 18 to 22 s, so two are missing
REQUEST_TIMEOUT_S = 15.0  # seconds for a whole request for a write checkpoint
OVERDUE_S = 10.0  # seconds without a byte of a stream after which the way to the service is examined
REQUEST_OVERDUE_S = 3.0  # the same for a request, whose answer is due at once
PROBE_TIMEOUT_S = 4.0  # seconds for the answer to a probe; then the way is closed
PROBE_PAUSE_S = 1.0  # seconds between probes of a closed way


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """Limits of a transport; times in seconds. `overdue_s` None: the way to the service is never examined (no probes)."""

    connect_timeout_s: float = CONNECT_TIMEOUT_S
    response_timeout_s: float = RESPONSE_TIMEOUT_S
    read_idle_timeout_s: float = READ_IDLE_TIMEOUT_S
    request_timeout_s: float = REQUEST_TIMEOUT_S
    overdue_s: float | None = OVERDUE_S
    request_overdue_s: float = REQUEST_OVERDUE_S
    probe_timeout_s: float = PROBE_TIMEOUT_S
    probe_pause_s: float = PROBE_PAUSE_S
    line_bytes_max: int = LINE_BYTES_MAX


class Transport(ABC):
    """One way to talk to a sync service, for one connection of one database.

    Methods raise AuthFailed (refused token), ServiceError (an answer that is no success), ConnectionFailed (no answer, or a broken
    connection) and RemoteProtocolError (an answer that makes no sense), and nothing else but CancelledError.
    """

    name: ClassVar[str]
    """What `connect(transport=…)` calls it."""

    keepalive_lines: ClassVar[bool] = False
    """Whether the service sends a line at least every 22 s; without one for 25 s the status then says that the stream is silent."""

    @abstractmethod
    def stream(
        self, request: StreamRequest, credentials: Credentials
    ) -> AbstractAsyncContextManager[AsyncIterator[list[bytes]]]:
        """Open a stream; inside, iterate over lists of whole lines, in the portions in which they arrive.

        An empty list is a sign of life without a whole line: a part of a long one. A line is JSON text, or a `BsonLine`;
        `syncline.protocol.lines.decode_line` reads both.
        """

    @abstractmethod
    async def write_checkpoint(self, client_id: str, credentials: Credentials) -> int:
        """Ask for a write checkpoint: the number that the stream reports once the source's present state is replicated."""

    @abstractmethod
    async def request_checkpoint(self, client_id: str, request_id: int, credentials: Credentials) -> int:
        """Ask for a checkpoint under a number of the client's own (protocol reference, 5.3); returns the number that counts.

        Raises ServiceError with status 404 from a service that is too old for this.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close all connections. Can be called again."""

    def on_recovered(self, listener: Callable[[], None]) -> None:  # noqa: B027 - not every transport can know
        """Call `listener` whenever the way to the service is open again after it was found closed.

        What was asked for meanwhile, on whichever connection, may never be answered. Transports without this knowledge never call.
        """
