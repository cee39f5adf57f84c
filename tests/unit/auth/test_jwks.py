"""When keys are fetched, and for how long they are used. No network, and a clock that the test turns."""

from __future__ import annotations

import asyncio
import logging

import pytest

from syncline.auth.claims import ClaimRules
from syncline.auth.jwks import (
    FETCH_BURST,
    FETCH_INTERVAL_S,
    FRESH_S,
    MISSING_KEY_COOLDOWN_S,
    USABLE_S,
    WAIT_S,
    JwksCache,
)
from syncline.auth.keys import StaticKeys
from syncline.auth.verifier import TokenVerifier
from syncline.errors import AudienceMismatch, ConfigError, KeysUnavailable, TokenInvalid
from tests.unit.auth.issuer import DEADLINE_S, NOW_S, Clock, Download, SigningKey, fetch_ended

URI = "https://user:password@issuer.example:8443/jwks?key=secret#part"
FIRST, SECOND = SigningKey("first"), SigningKey("second")


@pytest.fixture
def download() -> Download:
    return Download.of(FIRST)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(download: Download, clock: Clock) -> JwksCache:
    return JwksCache(URI, download=download, clock=clock, wait_s=DEADLINE_S)


def kids(cache: JwksCache) -> list[str | None]:
    return [key.kid for key in cache.cached()]


async def test_concurrent_requests_share_one_fetch(download: Download, cache: JwksCache) -> None:
    download.open.clear()
    requests = [asyncio.create_task(cache.keys()) for _ in range(20)]
    await asyncio.sleep(0)
    download.open.set()
    assert {key.kid for keys in await asyncio.gather(*requests) for key in keys} == {"first"}
    assert download.requests == 1


async def test_keys_fetched_at_start_are_there_for_the_first_request(download: Download, cache: JwksCache) -> None:
    cache.begin()
    await fetch_ended(cache)
    assert (await TokenVerifier(cache, ["app"]).verify(FIRST.token(), now_s=NOW_S)).user_id == "user-1"
    assert download.requests == 1


async def test_a_token_of_a_cached_key_refreshes_old_keys_in_the_background(
    download: Download, cache: JwksCache, clock: Clock
) -> None:
    checks = TokenVerifier(cache, ["app"])
    await checks.verify(FIRST.token(), now_s=NOW_S)
    clock.now_s += FRESH_S
    await checks.verify(FIRST.token(), now_s=NOW_S)
    assert download.requests == 1
    download.publish(FIRST, SECOND)
    clock.now_s += 1
    download.open.clear()
    await checks.verify(FIRST.token(), now_s=NOW_S)  # does not wait for the answer, which is held
    download.open.set()
    await fetch_ended(cache)
    assert (download.requests, kids(cache)) == (2, ["first", "second"])


@pytest.mark.requirement(116)
async def test_after_a_rotation_the_first_token_of_the_new_key_is_refused_and_the_next_accepted(
    download: Download, cache: JwksCache, clock: Clock
) -> None:
    checks = TokenVerifier(cache, ["app"])
    await checks.verify(FIRST.token(), now_s=NOW_S)
    download.publish(SECOND)
    with pytest.raises(TokenInvalid):
        await checks.verify(SECOND.token(), now_s=NOW_S)
    await fetch_ended(cache)
    assert (await checks.verify(SECOND.token(), now_s=NOW_S)).user_id == "user-1"
    with pytest.raises(TokenInvalid):  # the key that was withdrawn; a new fetch is not due yet
        await checks.verify(FIRST.token(), now_s=NOW_S)
    await fetch_ended(cache)
    assert download.requests == 2
    clock.now_s += MISSING_KEY_COOLDOWN_S
    with pytest.raises(TokenInvalid):
        await checks.verify(FIRST.token(), now_s=NOW_S)
    await fetch_ended(cache)
    assert download.requests == 3


async def test_a_rotated_key_without_a_key_id_is_fetched_too(download: Download, cache: JwksCache) -> None:
    before, after = SigningKey(None), SigningKey(None)
    download.publish(before)
    checks = TokenVerifier(cache, ["app"])
    await checks.verify(before.token(), now_s=NOW_S)
    download.publish(after)
    with pytest.raises(TokenInvalid):
        await checks.verify(after.token(), now_s=NOW_S)
    await fetch_ended(cache)
    await checks.verify(after.token(), now_s=NOW_S)


@pytest.mark.requirement(116)
async def test_keys_outlive_an_outage_of_an_hour_and_no_longer(
    download: Download, cache: JwksCache, clock: Clock
) -> None:
    checks = TokenVerifier(cache, ["app"])
    await checks.verify(FIRST.token(), now_s=NOW_S)
    download.fail()
    clock.now_s += USABLE_S
    await checks.verify(FIRST.token(), now_s=NOW_S)
    await fetch_ended(cache)
    await checks.verify(FIRST.token(), now_s=NOW_S)
    clock.now_s += 1
    with pytest.raises(KeysUnavailable) as caught:
        await checks.verify(FIRST.token(), now_s=NOW_S)
    assert (caught.value.error_code, caught.value.status) == ("PSYNC_S2204", 401)
    assert "issuer.example" not in str(caught.value)
    download.publish(FIRST)
    await checks.verify(FIRST.token(), now_s=NOW_S)


@pytest.mark.requirement(223, missing="the database")
async def test_a_service_that_is_up_before_its_issuer_accepts_tokens_as_soon_as_it_answers(
    download: Download, cache: JwksCache, clock: Clock
) -> None:
    checks = TokenVerifier(cache, ["app"])
    download.fail()
    cache.begin()
    await fetch_ended(cache)
    with pytest.raises(KeysUnavailable):
        await checks.verify(FIRST.token(), now_s=NOW_S)
    download.publish(FIRST)
    assert (await checks.verify(FIRST.token(), now_s=NOW_S)).user_id == "user-1"


async def test_fetches_that_fail_are_spaced_after_a_burst(download: Download, cache: JwksCache, clock: Clock) -> None:
    download.fail()
    for _ in range(FETCH_BURST + 5):
        with pytest.raises(KeysUnavailable):
            await cache.keys()
    assert download.requests == FETCH_BURST
    clock.now_s += FETCH_INTERVAL_S
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            await cache.keys()
    assert download.requests == FETCH_BURST + 1
    clock.now_s += FETCH_INTERVAL_S * FETCH_BURST * 3
    for _ in range(FETCH_BURST + 5):
        with pytest.raises(KeysUnavailable):
            await cache.keys()
    assert download.requests == FETCH_BURST * 2 + 1  # a long silence allows one burst, not three


async def test_unknown_key_ids_cause_no_more_fetches_than_failures_do(
    download: Download, cache: JwksCache, clock: Clock
) -> None:
    checks = TokenVerifier(cache, ["app"])
    for _ in range(FETCH_BURST * 3):
        clock.now_s += MISSING_KEY_COOLDOWN_S / 100
        with pytest.raises(TokenInvalid):
            await checks.verify(SECOND.token(), now_s=NOW_S)
        await fetch_ended(cache)
    assert download.requests == 2  # the first, and one for the unknown id: the others came within its cooldown
    for _ in range(FETCH_BURST * 3):
        clock.now_s += MISSING_KEY_COOLDOWN_S
        with pytest.raises(TokenInvalid):
            await checks.verify(SECOND.token(), now_s=NOW_S)
        await fetch_ended(cache)
    assert download.requests <= FETCH_BURST + FETCH_BURST * 3 * MISSING_KEY_COOLDOWN_S / FETCH_INTERVAL_S


async def test_a_request_waits_for_keys_no_longer_than_its_limit(download: Download, clock: Clock) -> None:
    assert WAIT_S == 3.0
    cache = JwksCache(URI, download=download, clock=clock, wait_s=0.01)
    download.open.clear()
    with pytest.raises(KeysUnavailable):
        await cache.keys()
    download.open.set()
    await fetch_ended(cache)  # the fetch went on, for those who come next
    assert (kids(cache), download.requests) == (["first"], 1)


async def test_close_ends_a_fetch_that_runs(download: Download, clock: Clock) -> None:
    cache = JwksCache(URI, download=download, clock=clock, wait_s=0.01)
    download.open.clear()
    with pytest.raises(KeysUnavailable):
        await cache.keys()
    async with asyncio.timeout(DEADLINE_S):
        await cache.close()
    assert cache.cached() == ()


@pytest.mark.requirement(117)
async def test_keys_of_several_uris_and_of_the_configuration_are_merged(
    download: Download, cache: JwksCache, clock: Clock
) -> None:
    other, written = Download.of(SECOND), SigningKey("written")
    second = JwksCache(URI, download=other, clock=clock, wait_s=DEADLINE_S)
    checks = TokenVerifier([StaticKeys.from_jwks([written.jwk]), cache, second], ["app"])
    for key in (written, FIRST, SECOND):
        assert (await checks.verify(key.token(), now_s=NOW_S)).user_id == "user-1"


@pytest.mark.requirement(117)
async def test_a_uri_that_does_not_answer_does_not_hold_up_tokens_of_other_keys(
    download: Download, cache: JwksCache, clock: Clock
) -> None:
    other, wildcard = Download.of(SECOND), SigningKey(None)
    other.open.clear()
    second = JwksCache(URI, download=other, clock=clock, wait_s=0.01)
    checks = TokenVerifier([StaticKeys.from_jwks([wildcard.jwk]), cache, second], ["app"])
    await cache.keys()
    for key in (FIRST, wildcard):
        assert (await checks.verify(key.token(), now_s=NOW_S)).user_id == "user-1"
    assert other.requests == 0  # neither token can be of a key behind it
    forged = f"{FIRST.token(sub='root').rpartition('.')[0]}.{FIRST.token().rpartition('.')[2]}"
    with pytest.raises(TokenInvalid):  # of a known key, and wrong: nothing to wait for
        await checks.verify(forged, now_s=NOW_S)
    assert other.requests == 0
    with pytest.raises(KeysUnavailable):
        await checks.verify(SECOND.token(), now_s=NOW_S)
    other.open.set()
    await fetch_ended(second)
    assert (await checks.verify(SECOND.token(), now_s=NOW_S)).user_id == "user-1"


async def test_keys_behind_a_uri_may_have_rules_of_their_own(clock: Clock) -> None:
    caches = [
        JwksCache(URI, download=Download.of(key), clock=clock, wait_s=DEADLINE_S, rules=rules)
        for key, rules in ((FIRST, None), (SECOND, ClaimRules(frozenset({"theirs"}))))
    ]
    checks = TokenVerifier(caches, ["app"])
    for key, accepted, refused in ((FIRST, "app", "theirs"), (SECOND, "theirs", "app")):
        assert (await checks.verify(key.token(aud=accepted), now_s=NOW_S)).user_id == "user-1"
        with pytest.raises(AudienceMismatch):
            await checks.verify(key.token(aud=refused), now_s=NOW_S)


@pytest.mark.requirement(115)
@pytest.mark.parametrize("code", ["PSYNC_S2202", "PSYNC_S2203", "PSYNC_S2204"])
async def test_the_reason_why_keys_cannot_be_fetched_is_told_by_its_code_alone(
    download: Download, cache: JwksCache, code: str
) -> None:
    download.fail(code)
    with pytest.raises(KeysUnavailable) as caught:
        await cache.keys()
    assert caught.value.error_code == code
    assert str(caught.value) == f"[{code}] The keys to verify tokens with could not be fetched."


async def test_the_reason_of_an_older_failure_is_not_told_again(download: Download, clock: Clock) -> None:
    cache = JwksCache(URI, download=download, clock=clock, wait_s=0.01)
    download.fail("PSYNC_S2203")
    with pytest.raises(KeysUnavailable):
        await cache.keys()
    download.publish(FIRST)
    await cache.keys()
    clock.now_s += USABLE_S + 1
    download.open.clear()
    with pytest.raises(KeysUnavailable) as caught:  # nothing has failed since: there is no answer yet
        await cache.keys()
    assert caught.value.error_code == "PSYNC_S2204"
    await cache.close()


async def test_a_wrong_signature_of_a_known_key_causes_no_fetch(
    download: Download, cache: JwksCache, caplog: pytest.LogCaptureFixture
) -> None:
    await cache.keys()
    forged = f"{FIRST.token(sub='root').rpartition('.')[0]}.{FIRST.token().rpartition('.')[2]}"
    with pytest.raises(TokenInvalid, match="Signature"):
        await TokenVerifier(cache, ["app"]).verify(forged, now_s=NOW_S)
    await fetch_ended(cache)
    assert (download.requests, caplog.records) == (1, [])


@pytest.mark.requirement(224, missing="Postgres")
async def test_every_fetch_is_one_line_of_the_log_with_a_masked_uri(
    download: Download, cache: JwksCache, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="syncline.auth")
    cache.begin()
    await fetch_ended(cache)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage()) == (
        "INFO",
        "JWKS fetched from https://issuer.example:8443/jwks: 1 usable keys",
    )
    caplog.clear()
    download.fail()
    cache.begin()
    await fetch_ended(cache)
    (failed,) = caplog.records
    assert (failed.levelname, failed.getMessage()) == (
        "WARNING",
        "JWKS not fetched from https://issuer.example:8443/jwks: out of order",
    )
    for shown in (str(vars(record)), str(vars(failed))):
        assert "password" not in shown
        assert "secret" not in shown


async def test_a_key_set_that_became_empty_withdraws_every_key_and_is_told(
    download: Download, cache: JwksCache, caplog: pytest.LogCaptureFixture
) -> None:
    await cache.keys()
    download.publish()
    cache.begin()
    await fetch_ended(cache)
    with pytest.raises(TokenInvalid):
        await TokenVerifier(cache, ["app"]).verify(FIRST.token(), now_s=NOW_S)
    assert [record.levelname for record in caplog.records if "no usable key" in record.getMessage()] == ["WARNING"]


async def test_a_document_that_is_no_key_set_keeps_the_old_keys(download: Download, cache: JwksCache) -> None:
    await cache.keys()
    download.body = b"<html>Sign in</html>"
    cache.begin()
    await fetch_ended(cache)
    assert (kids(cache), download.requests) == (["first"], 2)


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("ftp://a/b", "PSYNC_S3103"),
        ("file:///etc/passwd", "PSYNC_S3103"),
        ("javascript:alert(1)", "PSYNC_S3103"),
        ("", "PSYNC_S3102"),
        ("jwks.json", "PSYNC_S3102"),
        ("https:///x", "PSYNC_S3102"),
        ("https://[::1/x", "PSYNC_S3102"),
        ("https://secret:pass@host:99999/x", "PSYNC_S3102"),
    ],
)
def test_a_uri_that_cannot_be_fetched_is_refused_at_once(uri: str, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        JwksCache(uri)
    assert caught.value.error_code == code
    assert "secret" not in str(caught.value)
