"""Revoking users and keeping reports, on real SQLite storage shared by two processes' worth of objects."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from syncline.api.admin.revoking import REVOCATION_DEFAULT_S, UserControl, revocation_of
from syncline.api.stream_registry import StreamRegistry
from syncline.auth.revocation import RevocationList
from syncline.errors import RequestInvalid, StorageUnavailable
from syncline.storage.sqlite import SqliteStorage
from syncline.storage.sqlite.control import SqliteControl

NOW_S = 1_800_000_000.0


class Process:
    """What one process has of users and streams."""

    def __init__(self, control: SqliteControl) -> None:
        self.now_s = NOW_S
        self.registry = StreamRegistry(now_ms=lambda: int(self.now_s * 1000))
        self.revocations = RevocationList()
        self.users = UserControl(control, self.registry, self.revocations, clock=lambda: self.now_s)
        self.ended: list[str] = []

    def open(self, user_id: str, client_id: str = "c") -> None:
        self.registry.open(
            user_id=user_id,
            client_id=client_id,
            user_agent="agent",
            transport="http",
            token_expires_s=int(NOW_S) + 60,
            end=lambda: self.ended.append(user_id),
        )

    def refuses(self, user_id: str) -> bool:
        return self.revocations.is_revoked(user_id, self.now_s)


@pytest.fixture
async def control(tmp_path: Path) -> AsyncGenerator[SqliteControl]:
    control = SqliteStorage(tmp_path).open_control()
    yield control
    await control.close()


async def test_streams_end_and_new_ones_are_refused_until_the_time(control: SqliteControl) -> None:
    process = Process(control)
    for user_id in ("u", "u", "v"):
        process.open(user_id)
    answer = await process.users.revoke({"user_id": "u", "until": NOW_S + 100})
    assert answer == {"user_id": "u", "until": "2027-01-15T08:01:40.000Z", "streams_ended": 2}
    assert process.ended == ["u", "u"]
    assert (process.refuses("u"), process.refuses("v")) == (True, False)
    process.now_s += 101
    assert not process.refuses("u")


async def test_another_process_and_the_next_start_hear_of_it(control: SqliteControl) -> None:
    here, there = Process(control), Process(control)
    there.open("u")
    await here.users.revoke({"user_id": "u"})
    assert not there.refuses("u")
    await there.users.begin()
    assert there.refuses("u")
    assert there.ended == ["u"]
    restarted = Process(control)
    await restarted.users.begin()
    assert restarted.refuses("u")
    await here.users.revoke({"user_id": "u", "until": 0})  # taken back
    assert not here.refuses("u")
    await there.users.begin()
    assert not there.refuses("u")


async def test_a_stream_that_was_being_opened_meanwhile_ends_soon(control: SqliteControl) -> None:
    process = Process(control)
    await process.users.revoke({"user_id": "u"})
    process.open("u")
    process.open("v")
    assert process.ended == []
    await process.users.begin()  # as `run` does, every few seconds
    assert process.ended == ["u"]


async def test_the_newest_word_counts_also_where_it_is_a_shorter_time(control: SqliteControl) -> None:
    process = Process(control)
    await process.users.revoke({"user_id": "u", "until": NOW_S + 1000})
    await process.users.revoke({"user_id": "u", "until": NOW_S + 10})
    process.now_s += 11
    assert not process.refuses("u")


def test_without_a_time_all_of_today_s_tokens_expire_first() -> None:
    assert revocation_of({"user_id": "u"}, now_s=NOW_S) == ("u", int((NOW_S + REVOCATION_DEFAULT_S) * 1000))
    assert revocation_of({"user_id": "u", "until": "2027-01-15T09:00:00+01:00"}, now_s=NOW_S) == (
        "u",
        int(NOW_S * 1000),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"user_id": 7},
        {"user_id": "u", "until": "tomorrow"},
        {"user_id": "u", "until": "2027-01-15T09:00:00"},
        {"user_id": "u", "until": "0001-01-01T00:00:00+14:00"},
        {"user_id": "u", "until": "9999-12-31T23:59:59Z"},
        {"user_id": "u", "until": -1},
        {"user_id": "u", "until": 1e300},
        {"user_id": "u", "until": 10**400},
        {"user_id": "u", "until": True},
        {"user_id": "u", "until": []},
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(RequestInvalid):
        revocation_of(fields, now_s=NOW_S)


async def test_connections_shows_open_streams_and_days(control: SqliteControl) -> None:
    process = Process(control)
    process.open("u")
    process.open("v\ud83d")
    shown = await process.users.connections({"user_id": "u"})
    [stream], [day] = shown["open"], shown["days"]
    assert (stream["user_id"], stream["transport"], stream["connected_at"]) == ("u", "http", "2027-01-15T08:00:00.000Z")
    assert (day["day"], day["connections"], day["disconnected_at"]) == ("2027-01-15", 1, None)
    process.registry.close(process.registry.streams("u")[0])
    shown = await process.users.connections({})
    assert len(shown["open"]) == 1
    assert {entry["user_id"] for entry in shown["days"]} == {"u", "v\ud83d"}


async def test_reports_wait_while_storage_fails(control: SqliteControl, monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process(control)
    process.open("u")

    async def fail(_reports: object) -> None:
        raise StorageUnavailable("no disk")

    with monkeypatch.context() as patch:
        patch.setattr(control, "report_connections", fail)
        with pytest.raises(StorageUnavailable):
            await process.users.connections({})
        await process.users.close()  # only logged
    await process.users.close()
    assert [report.user_id for report in await control.connection_reports()] == ["u"]
