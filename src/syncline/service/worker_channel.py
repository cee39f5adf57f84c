"""A child's end of the socket to its supervisor, in the child's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable

from syncline.service.supervisor_messages import FrameReader, Message, MessageInvalid, Outbox

__all__ = ["WorkerChannel"]

log = logging.getLogger(__name__)

READ_BYTES = 64 * 1024


class WorkerChannel:
    """Sends and hears messages. Make it in the event loop; `on_end` is called once, when the supervisor is no more."""

    def __init__(
        self, channel: socket.socket, *, on_message: Callable[[Message], None], on_end: Callable[[], None]
    ) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._on_message = on_message
        self._on_end = on_end
        self._reader = FrameReader()
        self._outbox = Outbox()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel, self._read)

    def send(self, message: Message) -> None:
        """Send it as soon as it can be; until then a newer one of its kind replaces it. Call in the event loop."""
        self._outbox.put(message)
        self._flush()

    def close(self) -> None:
        """Hear and send nothing more. Safe to call twice."""
        self._loop.remove_reader(self._channel)
        self._loop.remove_writer(self._channel)
        self._channel.close()

    def _read(self) -> None:
        try:
            data = self._channel.recv(READ_BYTES)
            messages = self._reader.feed(data)
        except BlockingIOError:
            return
        except (OSError, MessageInvalid) as exc:
            log.error("The supervisor is not understood: %s", exc, extra={"event": "service.channel"})
            data, messages = b"", []
        for message in messages:
            self._on_message(message)
        if not data:
            self._loop.remove_reader(self._channel)
            self._on_end()

    def _flush(self) -> None:
        if self._channel.fileno() < 0:
            return
        with contextlib.suppress(OSError):  # the supervisor is gone: reading says so
            try:
                while self._outbox:
                    self._outbox.sent(self._channel.send(self._outbox.next_bytes()))
            except BlockingIOError:
                self._loop.add_writer(self._channel, self._flush)
                return
        self._loop.remove_writer(self._channel)
