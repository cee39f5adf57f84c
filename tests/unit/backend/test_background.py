"""The backend in a thread: opened once in one loop, whoever asks, and again where it could not be opened."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from syncline.backend import background as module
from syncline.backend.background import BackgroundBackend
from syncline.backend.http.messages import BackendRequest
from syncline.errors import ConfigError
from tests.unit.backend.asgi import RecordingPersister, bearer, make_backend, operation, upload


class LoopPersister(RecordingPersister):
    """Remembers in which loops it was used, and cannot be opened a few times."""

    def __init__(self, failures_to_open: int = 0) -> None:
        super().__init__()
        self.loops = list[asyncio.AbstractEventLoop]()
        self.failures_to_open = failures_to_open

    async def open(self) -> None:
        if self.failures_to_open:
            self.failures_to_open -= 1
            raise ConnectionRefusedError("a secret")
        self.loops.append(asyncio.get_running_loop())
        await super().open()


@contextlib.contextmanager
def running(persister: RecordingPersister) -> Generator[BackgroundBackend]:
    with contextlib.closing(BackgroundBackend(make_backend(persister))) as background:
        yield background


def request() -> BackendRequest:
    return BackendRequest("POST", "/api/data", headers=bearer("ann"), body=upload([operation()]))


def test_all_threads_use_one_loop_and_the_end_closes_the_backend() -> None:
    persister = LoopPersister()

    def status(_number: int) -> int:
        return background.handle(request()).status

    with running(persister) as background:
        assert persister.loops == []  # nothing before the first request: a server may fork until then
        with ThreadPoolExecutor(4) as threads:
            statuses = list(threads.map(status, range(8)))
        assert (statuses, len(persister.loops), persister.opened) == ([200] * 8, 1, True)
    assert not persister.opened
    background.close()
    coroutine = asyncio.sleep(0)
    with pytest.raises(ConfigError, match="closed"):
        background.submit(coroutine)
    coroutine.close()


def test_a_backend_that_cannot_be_opened_is_tried_again() -> None:
    with running(LoopPersister(failures_to_open=2)) as background:
        answers = [background.handle(request()) for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 503, 200]
    assert answers[0].headers["retry-after"] == "1"
    assert b"secret" not in answers[0].body


def test_the_end_of_the_process_waits_for_a_backend_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck(LoopPersister):
        async def close(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(module, "CLOSE_SECONDS_MAX", 0.05)
    background = BackgroundBackend(make_backend(Stuck()))
    assert background.handle(request()).status == 200
    background.close()


def test_a_process_that_was_forked_too_late_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(LoopPersister()) as background:
        background.handle(request())
        with monkeypatch.context() as forked:
            forked.setattr(os, "getpid", lambda: -1)
            coroutine = asyncio.sleep(0)
            with pytest.raises(ConfigError, match="forked"):
                background.submit(coroutine)
            coroutine.close()
