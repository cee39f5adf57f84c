"""When keys are fetched, and for how long they are used. Real sockets on loopback, a clock that the test turns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from syncline.auth.jwks import (
    FETCH_BURST,
    FETCH_INTERVAL_S,
    FRESH_S,
    MISSING_KEY_COOLDOWN_S,
    USABLE_S,
    JwksCache,
)
from syncline.auth.verifier import TokenVerifier
from syncline.errors import ConfigError, KeysUnavailable, TokenInvalid
from tests.unit.auth.issuer import DEADLINE_S, NOW_S, Clock, Issuer, SigningKey, fetch_ended, running_issuer

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
    made = JwksCache(issuer.uri, clock=clock, wait_s=DEADLINE_S)
    yield made
    await made.close()


def kids(cache: JwksCache) -> list[str | None]:
    return [key.kid for key in cache.cached()]


async def test_concurrent_requests_share_one_fetch(issuer: Issuer, cache: JwksCache) -> None:
    issuer.open.clear()
    requests = [asyncio.create_task(cache.keys()) for _ in range(20)]
    async with asyncio.timeout(DEADLINE_S):
        await issuer.asked.wait()
    issuer.open.set()
    assert {key.kid for keys in await asyncio.gather(*requests) for key in keys} == {"first"}
    assert (issuer.requests, issuer.accepted) == (1, "application/json")


async def test_a_token_of_a_cached_key_refreshes_old_keys_in_the_background(
    issuer: Issuer, cache: JwksCache, clock: Clock
) -> None:
    checks = TokenVerifier(cache, ["app"])
    await checks.verify(FIRST.token(), now_s=NOW_S)
    clock.now_s += FRESH_S
    await checks.verify(FIRST.token(), now_s=NOW_S)
    assert issuer.requests == 1
    issuer.publish(FIRST, SECOND)
    clock.now_s += 1
    issuer.open.clear()
    await checks.verify(FIRST.token(), now_s=NOW_S)  # does not wait for the answer, which is held
    issuer.open.set()
    await fetch_ended(cache)
    assert (issuer.requests, kids(cache)) == (2, ["first", "second"])


async def test_after_a_rotation_the_first_token_of_the_new_key_is_refused_and_the_next_accepted(
    issuer: Issuer, cache: JwksCache, clock: Clock
) -> None:
    checks = TokenVerifier(cache, ["app"])
    await checks.verify(FIRST.token(), now_s=NOW_S)
    issuer.publish(SECOND)
    with pytest.raises(TokenInvalid):
        await checks.verify(SECOND.token(), now_s=NOW_S)
    await fetch_ended(cache)
    assert (await checks.verify(SECOND.token(), now_s=NOW_S)).user_id == "user-1"
    with pytest.raises(TokenInvalid):  # the key that was withdrawn; a new fetch is not due yet
        await checks.verify(FIRST.token(), now_s=NOW_S)
    await fetch_ended(cache)
    assert issuer.requests == 2
    clock.now_s += MISSING_KEY_COOLDOWN_S
    with pytest.raises(TokenInvalid):
        await checks.verify(FIRST.token(), now_s=NOW_S)
    await fetch_ended(cache)
    assert issuer.requests == 3


async def test_a_rotated_key_without_a_key_id_is_fetched_too(issuer: Issuer, cache: JwksCache) -> None:
    before, after = SigningKey(None), SigningKey(None)
    issuer.publish(before)
    checks = TokenVerifier(cache, ["app"])
    await checks.verify(before.token(), now_s=NOW_S)
    issuer.publish(after)
    with pytest.raises(TokenInvalid):
        await checks.verify(after.token(), now_s=NOW_S)
    await fetch_ended(cache)
    await checks.verify(after.token(), now_s=NOW_S)


async def test_keys_outlive_an_outage_of_an_hour_and_no_longer(issuer: Issuer, cache: JwksCache, clock: Clock) -> None:
    checks = TokenVerifier(cache, ["app"])
    await checks.verify(FIRST.token(), now_s=NOW_S)
    issuer.status = 503
    clock.now_s += USABLE_S
    await checks.verify(FIRST.token(), now_s=NOW_S)
    await fetch_ended(cache)
    await checks.verify(FIRST.token(), now_s=NOW_S)
    clock.now_s += 1
    with pytest.raises(KeysUnavailable) as caught:
        await checks.verify(FIRST.token(), now_s=NOW_S)
    assert (caught.value.error_code, caught.value.status) == ("PSYNC_S2204", 401)
    assert issuer.uri not in str(caught.value)
    issuer.status = 200
    await checks.verify(FIRST.token(), now_s=NOW_S)


async def test_fetches_that_fail_are_spaced_after_a_burst(issuer: Issuer, cache: JwksCache, clock: Clock) -> None:
    issuer.status = 500
    for _ in range(FETCH_BURST + 5):
        with pytest.raises(KeysUnavailable):
            await cache.keys()
    assert issuer.requests == FETCH_BURST
    clock.now_s += FETCH_INTERVAL_S
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            await cache.keys()
    assert issuer.requests == FETCH_BURST + 1


async def test_a_request_waits_for_keys_no_longer_than_its_limit(issuer: Issuer, clock: Clock) -> None:
    cache = JwksCache(issuer.uri, clock=clock, wait_s=0.01)
    issuer.open.clear()
    with pytest.raises(KeysUnavailable):
        await cache.keys()
    issuer.open.set()
    await fetch_ended(cache)  # the fetch went on, for those who come next
    assert (kids(cache), issuer.requests) == (["first"], 1)


async def test_close_ends_a_fetch_that_runs(issuer: Issuer, clock: Clock) -> None:
    cache = JwksCache(issuer.uri, clock=clock, wait_s=0.01)
    issuer.open.clear()
    with pytest.raises(KeysUnavailable):
        await cache.keys()
    async with asyncio.timeout(DEADLINE_S):
        await cache.close()
    assert cache.cached() == ()


async def test_keys_of_several_uris_are_merged_and_one_that_fails_does_not_hold_up_the_other(
    issuer: Issuer, cache: JwksCache, clock: Clock
) -> None:
    async with running_issuer([SECOND]) as other:
        second = JwksCache(other.uri, clock=clock, wait_s=DEADLINE_S)
        checks = TokenVerifier([cache, second], ["app"])
        for key in (FIRST, SECOND):
            assert (await checks.verify(key.token(), now_s=NOW_S)).user_id == "user-1"
        other.status = 500
        clock.now_s += USABLE_S - 1
        await cache.keys()
        await fetch_ended(cache)
        clock.now_s += 2  # the first has fresh keys, the second none
        other.open.clear()
        await checks.verify(FIRST.token(), now_s=NOW_S)
        other.open.set()
        with pytest.raises(KeysUnavailable):
            await checks.verify(SECOND.token(), now_s=NOW_S)
        await second.close()


@pytest.mark.parametrize(
    ("uri", "code"), [("ftp://a/b", "PSYNC_S3103"), ("a", "PSYNC_S3103"), ("https:///x", "PSYNC_S3102")]
)
def test_a_uri_that_cannot_be_fetched_is_refused_at_once(uri: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JwksCache(uri)
    assert caught.value.error_code == code
