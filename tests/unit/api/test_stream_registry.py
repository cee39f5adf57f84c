from __future__ import annotations

import pytest

from syncline.api.stream_registry import REPORTS_WAITING_MAX, OpenStream, StreamRegistry


class Clock:
    def __init__(self) -> None:
        self.ms = 1000

    def __call__(self) -> int:
        self.ms += 1
        return self.ms


def opened(
    registry: StreamRegistry, user_id: str = "u", client_id: str | None = "c", *, ended: list[str]
) -> OpenStream:
    return registry.open(
        user_id=user_id,
        client_id=client_id,
        user_agent="x" * 1000,
        transport="http",
        token_expires_s=60,
        end=lambda: ended.append(user_id),
    )


def test_streams_of_a_user_are_ended_and_others_are_not() -> None:
    registry, ended = StreamRegistry(now_ms=Clock()), list[str]()
    first, second, other = (opened(registry, user_id, ended=ended) for user_id in ("u", "u", "v"))
    assert registry.end("u") == 2
    assert ended == ["u", "u"]
    assert (first.is_revoked, second.is_revoked, other.is_revoked) == (True, True, False)
    assert len(registry) == 3  # until they have ended
    registry.close(first)
    registry.close(first)
    registry.close(second)
    assert [stream.user_id for stream in registry.streams()] == ["v"]
    assert registry.end("u") == 0


def test_one_that_cannot_be_ended_does_not_keep_the_others_open(caplog: pytest.LogCaptureFixture) -> None:
    registry, ended = StreamRegistry(), list[str]()

    def fail() -> None:
        raise RuntimeError

    registry.open(user_id="u", client_id=None, user_agent="", transport="websocket", token_expires_s=1, end=fail)
    opened(registry, ended=ended)
    assert registry.end("u") == 2
    assert ended == ["u"]
    assert "could not be ended" in caplog.text


def test_reports_tell_openings_and_what_was_sent_at_the_end() -> None:
    registry, ended = StreamRegistry(now_ms=Clock()), list[str]()
    stream = opened(registry, ended=ended)
    twin = opened(registry, ended=ended)
    assert [report.connections for report in registry.take_reports()] == [1, 1]
    stream.operations_sent, stream.bytes_sent = 5, 70
    registry.close(stream)
    [report] = registry.take_reports()
    assert (report.connections, report.operations_sent, report.bytes_sent) == (0, 5, 70)
    assert report.disconnected_ms is None  # another one of this client is open
    assert len(report.user_agent) == 300
    registry.close(twin)
    [report] = registry.take_reports()
    assert report.disconnected_ms is not None
    assert registry.take_reports() == []


def test_reports_that_nobody_takes_are_bounded_and_given_back_ones_wait_again() -> None:
    registry, ended = StreamRegistry(), list[str]()
    for number in range(REPORTS_WAITING_MAX + 10):
        opened(registry, str(number), ended=ended)
    reports = registry.take_reports()
    assert len(reports) == REPORTS_WAITING_MAX
    assert reports[0].user_id == "10"
    opened(registry, "new", ended=ended)
    registry.give_back(reports)
    waiting = registry.take_reports()
    assert len(waiting) == REPORTS_WAITING_MAX
    assert [waiting[0].user_id, waiting[-1].user_id] == ["11", "new"]
