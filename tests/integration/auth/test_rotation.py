"""Keys that change, and issuers that fail, behind a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from yarl import URL

from syncline.auth.jwks import FETCH_BURST, USABLE_S, JwksCache
from syncline.auth.jwks_download import JwksDownload
from syncline.auth.verifier import TokenVerifier
from syncline.errors import KeysUnavailable, TokenInvalid
from tests.integration.auth.issuer import Issuer, running_issuer
from tests.unit.auth.issuer import DEADLINE_S, NOW_S, Clock, SigningKey, fetch_ended

FIRST, SECOND = SigningKey("first"), SigningKey("second")


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer([FIRST]) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cache(issuer: Issuer, clock: Clock) -> AsyncIterator[JwksCache]:
    made = JwksCache(issuer.uri(), clock=clock, wait_s=DEADLINE_S)
    yield made
    await made.close()


async def accepted(cache: JwksCache, key: SigningKey) -> bool:
    try:
        return (await TokenVerifier(cache, ["app"]).verify(key.token(), now_s=NOW_S)).user_id == "user-1"
    except TokenInvalid:
        return False


@pytest.mark.requirement(116)
async def test_a_rotation_is_noticed_with_the_first_token_of_the_new_key(issuer: Issuer, cache: JwksCache) -> None:
    assert await accepted(cache, FIRST)
    issuer.publish(FIRST, SECOND)
    assert not await accepted(cache, SECOND)
    await fetch_ended(cache)
    assert [await accepted(cache, key) for key in (FIRST, SECOND)] == [True, True]
    assert len(issuer.requests) == 2


@pytest.mark.requirement(116)
async def test_an_outage_of_the_issuer_is_survived_for_an_hour(issuer: Issuer, cache: JwksCache, clock: Clock) -> None:
    assert await accepted(cache, FIRST)
    issuer.status = 503
    for _ in range(60):
        clock.now_s += USABLE_S / 60
        assert await accepted(cache, FIRST)
        await fetch_ended(cache)
    assert FETCH_BURST <= len(issuer.requests) <= FETCH_BURST + 60
    clock.now_s += 1
    with pytest.raises(KeysUnavailable):
        await accepted(cache, FIRST)
    issuer.publish(FIRST)
    clock.now_s += 60
    assert await accepted(cache, FIRST)


async def test_a_slow_issuer_holds_up_the_first_token_and_no_later_one(issuer: Issuer, clock: Clock) -> None:
    cache = JwksCache(issuer.uri(), clock=clock, wait_s=0.05)
    issuer.open.clear()
    with pytest.raises(KeysUnavailable):
        await accepted(cache, FIRST)
    issuer.open.set()
    await fetch_ended(cache)
    issuer.open.clear()
    clock.now_s += USABLE_S
    assert await accepted(cache, FIRST)  # the refresh is under way and held
    issuer.open.set()
    await cache.close()


@pytest.mark.requirement(223, missing="the database")
async def test_an_issuer_that_starts_after_the_service_is_found(clock: Clock) -> None:
    async with running_issuer() as before:
        uri = before.uri()
    cache = JwksCache(uri, clock=clock, wait_s=DEADLINE_S)
    cache.begin()
    with pytest.raises(KeysUnavailable):
        await accepted(cache, FIRST)
    async with running_issuer([FIRST]) as after:
        moved = JwksCache(after.uri(), clock=clock, wait_s=DEADLINE_S)
        assert await accepted(moved, FIRST)
    await cache.close()


async def test_a_fetch_that_times_out_keeps_the_old_keys(issuer: Issuer, clock: Clock) -> None:
    cache = JwksCache(issuer.uri(), download=JwksDownload(URL(issuer.uri()), timeout_s=0.05), clock=clock)
    assert await accepted(cache, FIRST)
    issuer.open.clear()
    cache.begin()
    await fetch_ended(cache)
    issuer.open.set()
    assert len(issuer.requests) == 2
    assert await accepted(cache, FIRST)
