"""The port of metrics in the supervisor's own loop: that process has no thread and no event loop, for it forks.

Enough HTTP for a scrape: whatever is asked, the answer is all metrics, and the connection ends.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from syncline.errors import ConfigError

__all__ = ["REQUEST_BYTES_MAX", "SCRAPES_MAX", "SCRAPE_TIMEOUT_S", "MetricsPort"]

log = logging.getLogger(__name__)

SCRAPES_MAX = 16  # connections at the same time; further ones wait in the kernel
SCRAPE_TIMEOUT_S = 10.0  # seconds for a whole request and its answer
REQUEST_BYTES_MAX = 16 * 1024  # bytes of a request's head


class _Scrape:
    def __init__(self, connection: socket.socket, now_s: float) -> None:
        self.connection = connection
        self.since_s = now_s
        self.request = b""
        self.answer = b""


class MetricsPort:
    """Answers scrapes of `registry` from within a selector's loop."""

    def __init__(self, registry: CollectorRegistry, selector: selectors.BaseSelector) -> None:
        self._registry = registry
        self._selector = selector
        self._listening: socket.socket | None = None
        self._scrapes: set[_Scrape] = set()

    def listen(self, host: str, port: int) -> int:
        """Answer scrapes on a port from now on, and return it. Raises ConfigError when it is in use."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listening = self._listening = socket.create_server((host, port), family=family, backlog=SCRAPES_MAX)
        except OSError as exc:
            raise ConfigError(
                f"Cannot serve metrics on {host}:{port}: {exc.strerror}",
                hint="Another program may use the port: choose another telemetry.prometheus_port.",
            ) from exc
        listening.setblocking(False)
        self._selector.register(listening, selectors.EVENT_READ, self._accept)
        bound = int(listening.getsockname()[1])
        log.info("Metrics on http://%s:%d/metrics", host, bound, extra={"event": "service.metrics", "port": bound})
        return bound

    def end_late(self, now_s: float) -> None:
        """Close connections that are older than SCRAPE_TIMEOUT_S. Call now and then."""
        for scrape in [one for one in self._scrapes if now_s - one.since_s > SCRAPE_TIMEOUT_S]:
            self._end(scrape)

    def close(self) -> None:
        """Stop answering. The selector may be closed already: nothing is asked of it."""
        for scrape in self._scrapes:
            scrape.connection.close()
        self._scrapes.clear()
        if self._listening is not None:
            self._listening.close()

    def _accept(self, _events: int) -> None:
        assert self._listening is not None
        if len(self._scrapes) >= SCRAPES_MAX:
            self._end(
                min(self._scrapes, key=lambda one: one.since_s)
            )  # else whoever asks nothing would lock out the rest
        try:
            connection, _ = self._listening.accept()
        except OSError:  # it has gone away
            return
        connection.setblocking(False)
        scrape = _Scrape(connection, time.monotonic())
        self._scrapes.add(scrape)

        def go_on(_events: int) -> None:
            self._go_on(scrape)

        self._selector.register(connection, selectors.EVENT_READ, go_on)

    def _go_on(self, scrape: _Scrape) -> None:
        try:
            if not scrape.answer:
                self._read(scrape)
            if scrape.answer:
                scrape.answer = scrape.answer[scrape.connection.send(scrape.answer) :]
                if not scrape.answer:
                    self._end(scrape)
        except BlockingIOError:
            pass
        except OSError:
            self._end(scrape)

    def _read(self, scrape: _Scrape) -> None:
        data = scrape.connection.recv(REQUEST_BYTES_MAX)
        scrape.request += data
        if not data or len(scrape.request) > REQUEST_BYTES_MAX:
            self._end(scrape)
        elif b"\r\n\r\n" in scrape.request:
            body = generate_latest(self._registry)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE_LATEST}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            scrape.answer = head.encode() + body
            go_on = self._selector.get_key(scrape.connection).data
            self._selector.modify(scrape.connection, selectors.EVENT_WRITE, go_on)

    def _end(self, scrape: _Scrape) -> None:
        if scrape in self._scrapes:
            self._scrapes.discard(scrape)
            self._selector.unregister(scrape.connection)
            scrape.connection.close()
