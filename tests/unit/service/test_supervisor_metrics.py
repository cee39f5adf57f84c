"""The port of metrics in a selector's loop: scrapes, slow and silent clients, and too many of them."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
import urllib.request
from collections.abc import Generator

import pytest
from prometheus_client import CollectorRegistry, Counter

from syncline.errors import ConfigError
from syncline.service.supervisor_metrics import REQUEST_BYTES_MAX, SCRAPE_TIMEOUT_S, SCRAPES_MAX, MetricsPort


class Loop:
    """A metrics port whose loop runs in a thread."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.counter = Counter("things", "Things", registry=registry)
        self.selector = selectors.PollSelector()
        self.port_object = MetricsPort(registry, self.selector)
        self.port = self.port_object.listen("127.0.0.1", 0)
        self.stopping = threading.Event()
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self.stopping.is_set():
            ready = self.selector.select(0.02)
            with self.lock:
                for key, events in ready:
                    if key.fileobj in self.selector.get_map():
                        key.data(events)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@pytest.fixture
def loop() -> Generator[Loop]:
    running = Loop()
    try:
        yield running
    finally:
        running.stopping.set()
        running.thread.join()
        running.port_object.close()
        running.selector.close()


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        return response.read().decode()


def test_a_scrape_gets_the_numbers_of_now(loop: Loop) -> None:
    assert "things_total 0.0" in scrape(loop.port)
    loop.counter.inc()
    assert "things_total 1.0" in scrape(loop.port)


def test_a_request_that_comes_byte_by_byte_is_answered(loop: Loop) -> None:
    with loop.connect() as slow:
        for byte in b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n":
            slow.sendall(bytes([byte]))
            scrape(loop.port)  # nobody waits for the slow one
        assert slow.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_a_request_without_an_end_is_cut_off(loop: Loop) -> None:
    with loop.connect() as endless:
        endless.sendall(b"x" * (REQUEST_BYTES_MAX + 1))
        with contextlib.suppress(ConnectionResetError):
            assert endless.recv(100) == b""


def test_silent_clients_lock_nobody_out_and_are_closed_in_time(loop: Loop) -> None:
    silent = [loop.connect() for _ in range(SCRAPES_MAX + 3)]
    assert "things_total" in scrape(loop.port)
    with loop.lock:
        loop.port_object.end_late(time.monotonic() + SCRAPE_TIMEOUT_S + 1)
    for one in silent:
        assert one.recv(10) == b""
        one.close()


def test_a_port_in_use_is_refused_with_what_to_do(loop: Loop) -> None:
    with pytest.raises(ConfigError, match="prometheus_port"):
        MetricsPort(CollectorRegistry(), selectors.PollSelector()).listen("127.0.0.1", loop.port)
