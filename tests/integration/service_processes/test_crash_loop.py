"""A child that cannot stay: its restarts are spread out, and a person is told."""

from __future__ import annotations

import os
import signal

import pytest

from syncline.service.supervisor_plan import CRASH_LOOP_ENDS
from syncline.testing.waiting import eventually_sync
from tests.integration.service_processes.conftest import MakeService
from tests.support.service_tree import DEADLINE_S, is_running, named_pid, open_stream


def test_a_crash_loop_is_told_and_the_others_go_on(make_service: MakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PS_LOG_LEVEL", "debug")
    service = make_service()
    service.start(timeout_s=DEADLINE_S)
    worker = named_pid(service, "worker-1")
    with open_stream(service.port) as stream:
        stream.until_complete()
        for ends in range(1, CRASH_LOOP_ENDS + 1):
            killed = named_pid(service, "replicator")
            os.kill(killed, signal.SIGKILL)
            eventually_sync(
                lambda ends=ends: service.log.count("replicator was ended by signal 9") == ends, timeout_s=DEADLINE_S
            )
            eventually_sync(lambda killed=killed: named_pid(service, "replicator") != killed, timeout_s=DEADLINE_S)
        service.wait_log("it is in a crash loop", DEADLINE_S)
    assert is_running(worker)
    assert service.log.count("crash loop") == 1
