from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from syncline.client import BackendConnector, Credentials, SyncDatabase
from syncline.client.credentials import CredentialCache
from syncline.client.errors import CredentialsInvalid, NotSignedIn

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Counting(BackendConnector):
    """Hands out numbered tokens, as long as `lifetime`; waits for `gate` where there is one."""

    def __init__(self, *, lifetime: timedelta | None = None) -> None:
        self.calls = 0
        self.lifetime = lifetime
        self.gate: asyncio.Event | None = None
        self.answer: Any = None

    async def fetch_credentials(self) -> Credentials | None:
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            return self.answer
        expires_at = None if self.lifetime is None else NOW + self.lifetime
        return Credentials("http://s", f"t{self.calls}", expires_at)

    async def upload_data(self, db: SyncDatabase) -> None:
        raise NotImplementedError


@pytest.mark.requirement(6, 9)
def test_credentials_are_checked_and_normalised() -> None:
    assert Credentials("http://h:1/", "t") == Credentials(" http://h:1 ", "t")
    assert "secret" not in repr(Credentials("http://h", "secret"))
    for endpoint, token in (("", "t"), ("h:1", "t"), ("ftp://h", "t"), ("http://h", ""), ("http://h", "  ")):
        with pytest.raises(CredentialsInvalid):
            Credentials(endpoint, token)
    with pytest.raises(CredentialsInvalid, match="time zone"):
        Credentials("http://h", "t", datetime(2026, 1, 1))


@pytest.mark.requirement(1)
def test_a_connector_without_one_of_its_two_methods_cannot_be_made() -> None:
    class OnlyUploads(BackendConnector):
        async def upload_data(self, db: SyncDatabase) -> None: ...

    class OnlyCredentials(BackendConnector):
        async def fetch_credentials(self) -> Credentials | None: ...

    for incomplete, missing in ((OnlyUploads, "fetch_credentials"), (OnlyCredentials, "upload_data")):
        with pytest.raises(TypeError, match=missing):
            cast("Any", incomplete)()


async def test_however_many_wait_the_connector_is_asked_once() -> None:
    connector = Counting()
    connector.gate = asyncio.Event()
    cache = CredentialCache(connector)
    waiting = [asyncio.create_task(cache.get()) for _ in range(5)]
    await asyncio.sleep(0)
    connector.gate.set()
    assert {credentials.token for credentials in await asyncio.gather(*waiting)} == {"t1"}


@pytest.mark.requirement(252)
async def test_kept_credentials_are_not_handed_out_after_their_end() -> None:
    connector = Counting(lifetime=timedelta(minutes=5))
    clock = [NOW]
    cache = CredentialCache(connector, now=lambda: clock[0])
    assert (await cache.get()).token == "t1"
    clock[0] += timedelta(minutes=5) - timedelta(seconds=1)
    assert (await cache.get()).token == "t1"
    clock[0] += timedelta(seconds=1)
    assert (await cache.get()).token == "t2"


async def test_two_prefetches_at_a_time_are_one() -> None:
    connector = Counting()
    cache = CredentialCache(connector)
    await cache.get()
    connector.gate = asyncio.Event()
    both = [asyncio.create_task(cache.prefetch()) for _ in range(2)]
    await asyncio.sleep(0)
    connector.gate.set()
    await asyncio.gather(*both)
    assert connector.calls == 2
    assert (await cache.get()).token == "t2"


async def test_a_failed_prefetch_leaves_the_credentials_that_still_work() -> None:
    connector = Counting()
    cache = CredentialCache(connector)
    await cache.get()
    connector.answer = "no credentials"
    with pytest.raises(CredentialsInvalid):
        await cache.prefetch()
    assert (await cache.get()).token == "t1"


@pytest.mark.requirement(7)
async def test_nobody_signed_in_and_nonsense_are_told_apart() -> None:
    class Nobody(Counting):
        async def fetch_credentials(self) -> Credentials | None:
            return None

    with pytest.raises(NotSignedIn):
        await CredentialCache(Nobody()).get()
    connector = Counting()
    connector.answer = {"token": "t"}
    with pytest.raises(CredentialsInvalid, match="dict"):
        await CredentialCache(connector).get()
