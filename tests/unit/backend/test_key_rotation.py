"""Keys that follow each other: in stages, without a refused token, on disk for their owner only."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.auth.claims import CLOCK_TOLERANCE_S, MAX_LIFETIME_S
from syncline.auth.jwks import USABLE_S, JwksCache
from syncline.auth.signer import TokenSigner
from syncline.auth.verifier import TokenVerifier
from syncline.backend.auth import key_folder
from syncline.backend.auth.key_folder import KeyFolder
from syncline.backend.auth.rotating_signer import ROTATION_CHECK_S, RotatingSigner
from syncline.backend.auth.rotation import (
    ANNOUNCE_S,
    KEYS_MAX,
    CreateKey,
    DeleteKey,
    KeyStage,
    KeyTimes,
    RotationRules,
    due_steps,
    key_stages,
    next_key,
)
from syncline.backend.tokens import JWKS_MAX_AGE_S
from syncline.errors import ConfigError, TokenInvalid
from tests.unit.auth.issuer import fetch_ended

NOW_S = 1_800_000_000
DAY_S = 86_400
RULES = RotationRules(announce_s=1000, rotate_every_s=10_000, token_lifetime_max_s=600)
RETIRE_S = 600 + 2 * CLOCK_TOLERANCE_S


@dataclass
class Clock:
    now_s: float = NOW_S

    def __call__(self) -> float:
        return self.now_s


def open_signer(folder: Path, clock: Clock, rules: RotationRules = RULES) -> RotatingSigner:
    return RotatingSigner.open(folder, algorithm="EdDSA", rules=rules, clock=clock)


def kids(signer: RotatingSigner) -> set[str]:
    return {str(jwk["kid"]) for jwk in signer.jwks()["keys"]}


def test_a_key_is_announced_signs_retires_and_ends() -> None:
    first, second = KeyTimes("a", 0), KeyTimes("b", 5000)

    def stages(now_s: float) -> list[KeyStage]:
        return list(key_stages([second, first], RULES, now_s=now_s).values())

    assert stages(4999.9) == [KeyStage.SIGNING, KeyStage.ANNOUNCED]
    assert stages(5000) == [KeyStage.RETIRING, KeyStage.SIGNING]
    assert stages(5000 + RETIRE_S - 0.1) == [KeyStage.RETIRING, KeyStage.SIGNING]
    assert stages(5000 + RETIRE_S) == [KeyStage.ENDED, KeyStage.SIGNING]


def test_the_steps_are_the_first_key_the_next_in_time_and_the_end_of_old_ones() -> None:
    assert due_steps([], RULES, now_s=7.5) == [CreateKey(7)]
    keys = [KeyTimes("a", 0)]
    assert due_steps(keys, RULES, now_s=8999) == []
    assert due_steps(keys, RULES, now_s=9000) == [CreateKey(10_000)]
    assert due_steps(keys, RULES, now_s=50_000) == [CreateKey(51_000)]  # nobody looked for long: announced all the same
    keys.append(KeyTimes("b", 10_000))
    assert due_steps(keys, RULES, now_s=9000) == []
    assert due_steps(keys, RULES, now_s=10_000 + RETIRE_S) == [DeleteKey("a")]
    by_hand = RotationRules(announce_s=1000, rotate_every_s=None, token_lifetime_max_s=600)
    assert due_steps([KeyTimes("a", 0)], by_hand, now_s=1e9) == []


def test_the_next_key_is_asked_for_once_and_not_too_often() -> None:
    assert next_key([], RULES, now_s=5) == CreateKey(5)
    assert next_key([KeyTimes("a", 0)], RULES, now_s=5) == CreateKey(1005)
    assert next_key([KeyTimes("a", 0), KeyTimes("b", 1005)], RULES, now_s=6) is None
    crowd = [KeyTimes(str(number), number) for number in range(KEYS_MAX)]
    assert next_key(crowd[1:], RULES, now_s=KEYS_MAX) is not None
    with pytest.raises(ConfigError, match=str(KEYS_MAX)):
        next_key(crowd, RULES, now_s=KEYS_MAX)


def test_where_the_signing_key_was_withdrawn_the_announced_one_signs_early() -> None:
    assert key_stages([KeyTimes("b", 5000)], RULES, now_s=10) == {"b": KeyStage.SIGNING}
    assert key_stages([], RULES, now_s=10) == {}
    at_once = [KeyTimes("a", 5), KeyTimes("b", 5)]  # two processes made the first key at the same moment
    for seen in (at_once, at_once[::-1]):  # whatever order the files are read in
        assert key_stages(seen, RULES, now_s=5) == {"a": KeyStage.RETIRING, "b": KeyStage.SIGNING}


@pytest.mark.parametrize(
    "times",
    [
        {"announce_s": 0},
        {"token_lifetime_max_s": 0},
        {"token_lifetime_max_s": MAX_LIFETIME_S + 1},
        {"rotate_every_s": ANNOUNCE_S + MAX_LIFETIME_S},
    ],
)
def test_times_that_cannot_work_are_refused(times: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        RotationRules(**times)


def test_the_default_announcement_outlasts_what_verifiers_keep() -> None:
    assert ANNOUNCE_S > USABLE_S + JWKS_MAX_AGE_S


@given(
    announce_s=st.integers(1, 5000),
    lifetime_s=st.integers(1, MAX_LIFETIME_S),
    spare_s=st.integers(0, 50_000),
    pauses_s=st.lists(st.integers(1, 100_000), min_size=5, max_size=40),
)
def test_whenever_the_steps_are_done_no_token_outlives_its_key(
    announce_s: int, lifetime_s: int, spare_s: int, pauses_s: list[int]
) -> None:
    """Looked at in any rhythm: one key signs, it was published for `announce_s` before, and it is still there at its last token's end."""
    rules = RotationRules(announce_s, announce_s + lifetime_s + 2 * CLOCK_TOLERANCE_S + spare_s, lifetime_s)
    keys: dict[str, KeyTimes] = {}
    made_s: dict[str, int] = {}
    issued: list[tuple[str, int]] = []  # key, end of the token
    now_s = 0
    for pause_s in pauses_s:
        now_s += pause_s
        for step in due_steps(keys.values(), rules, now_s=now_s):
            if isinstance(step, CreateKey):
                kid = f"key-{len(made_s)}"
                keys[kid], made_s[kid] = KeyTimes(kid, step.signs_from_s), now_s
            else:
                del keys[step.kid]
        assert due_steps(keys.values(), rules, now_s=now_s) == []
        stages = key_stages(keys.values(), rules, now_s=now_s)
        (signing,) = (kid for kid, stage in stages.items() if stage is KeyStage.SIGNING)
        assert signing == "key-0" or now_s - made_s[signing] >= announce_s
        assert len(stages) <= 3
        issued.append((signing, now_s + lifetime_s))
        for kid, end_s in issued:
            assert end_s + CLOCK_TOLERANCE_S <= now_s or stages[kid] is not KeyStage.ENDED


async def test_tokens_stay_good_through_a_rotation_also_where_the_key_set_is_old(tmp_path: Path) -> None:
    clock = Clock()
    signer = open_signer(tmp_path / "keys", clock)
    service = TokenVerifier(signer.keys, ["app"])
    first = signer.kid
    old = signer.issue("ann", audience="app", now_s=clock.now_s, lifetime_s=600).token
    clock.now_s += 9000
    signer.rotate_if_due()
    assert signer.kid == first
    assert len(kids(signer)) == 2
    last_s = clock.now_s = NOW_S + 9999
    last = signer.issue("ann", audience="app", now_s=clock.now_s, lifetime_s=600).token
    clock.now_s += 1
    second = signer.kid
    assert second != first
    new = signer.issue("ann", audience="app", now_s=clock.now_s, lifetime_s=600).token
    for token in (last, new):
        assert (await service.verify(token, now_s=clock.now_s)).user_id == "ann"
    clock.now_s = last_s + 600 + CLOCK_TOLERANCE_S - 1
    signer.rotate_if_due()
    assert (await service.verify(last, now_s=clock.now_s)).user_id == "ann"
    clock.now_s += 2 * CLOCK_TOLERANCE_S
    assert kids(signer) == {second}  # the file is still there
    signer.rotate_if_due()
    assert sorted(path.stem for path in (tmp_path / "keys").iterdir()) == [second]
    with pytest.raises(TokenInvalid):
        await service.verify(old, now_s=clock.now_s)


@pytest.mark.requirement(116)
async def test_a_service_that_fetches_the_key_set_now_and_then_refuses_no_token(tmp_path: Path) -> None:
    """Through three rotations, with requests seconds or hours apart, so that its key set is as old as it may be."""
    seed = int(os.environ.get("SYNCLINE_SEED") or random.randrange(2**32))
    print(f"SYNCLINE_SEED={seed}")
    chance = random.Random(seed)
    clock = Clock()
    signer = open_signer(tmp_path / "keys", clock, RotationRules(rotate_every_s=DAY_S * 2))
    wall_s = clock.now_s

    async def download() -> bytes:
        return json.dumps(signer.jwks()).encode()

    cache = JwksCache("https://keys.example.com", download=download, clock=clock)
    service = TokenVerifier(cache, ["app"])
    used: set[str] = set()
    request_s = wall_s
    while clock.now_s < wall_s + 7 * DAY_S:
        clock.now_s += ROTATION_CHECK_S
        signer.rotate_if_due()
        if clock.now_s < request_s:
            continue
        token = signer.issue("ann", audience="app", now_s=clock.now_s).token
        await service.verify(token, now_s=clock.now_s)
        used.add(signer.kid)
        await fetch_ended(cache)
        request_s = clock.now_s + chance.choice(
            [ROTATION_CHECK_S, chance.uniform(1, USABLE_S), chance.uniform(1, 7200)]
        )
    await cache.close()
    assert len(used) >= 3


def test_the_key_files_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "auth" / "keys"
    signer = open_signer(folder, Clock())
    (file,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert open_signer(folder, Clock()).kid == signer.kid == file.stem
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_signer(folder, Clock())
    file.chmod(0o600)
    folder.chmod(0o770)
    with pytest.raises(ConfigError, match="chmod 700"):
        open_signer(folder, Clock())


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"signs_from_s": true, "key": {}}', '{"signs_from_s": 1, "key": {"kty": "RSA"}}']
)
def test_a_file_that_holds_no_key_is_named_and_not_shown(tmp_path: Path, content: str) -> None:
    tmp_path.chmod(0o700)
    file = tmp_path / "k.json"
    file.touch(mode=0o600)
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"k\.json") as caught:
        open_signer(tmp_path, Clock())
    assert 'signs_from_s":' not in str(caught.value)


def test_a_renamed_key_and_a_crowd_of_keys_are_refused(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path)
    tmp_path.chmod(0o700)
    signer = TokenSigner.generate("EdDSA")
    folder.add(signer, signs_from_s=1)
    (tmp_path / f"{signer.kid}.json").rename(tmp_path / "other.json")
    with pytest.raises(ConfigError, match="another id"):
        folder.read()
    for number in range(2 * KEYS_MAX):
        (tmp_path / f"{number}.json").touch()
    with pytest.raises(ConfigError, match=f"more than {2 * KEYS_MAX}"):
        folder.read()


def test_a_key_that_cannot_be_kept_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Path, content: bytes) -> None:
        file.write_bytes(content[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(key_folder, "_write_durably", full)
    with pytest.raises(ConfigError, match="No space"):
        open_signer(tmp_path / "keys", Clock())
    assert list((tmp_path / "keys").iterdir()) == []


async def test_processes_that_share_the_folder_see_each_other_s_keys_at_once(tmp_path: Path) -> None:
    clock = Clock()
    one, other = open_signer(tmp_path / "keys", clock), open_signer(tmp_path / "keys", clock)
    assert one.kid == other.kid
    announced = one.rotate()
    assert one.rotate() == announced  # asked for twice, made once
    assert announced in kids(other)
    clock.now_s += 1000
    assert one.kid == other.kid == announced
    token = one.issue("ann", audience="app", now_s=clock.now_s).token
    assert (await TokenVerifier(other.keys, ["app"]).verify(token, now_s=clock.now_s)).user_id == "ann"


async def test_a_key_that_has_leaked_is_withdrawn_at_once(tmp_path: Path) -> None:
    clock = Clock()
    signer, elsewhere = open_signer(tmp_path / "keys", clock), open_signer(tmp_path / "keys", clock)
    leaked = signer.kid
    token = signer.issue("ann", audience="app", now_s=clock.now_s).token
    signer.withdraw(leaked)
    assert signer.kid != leaked
    assert signer.stages() == {signer.kid: KeyStage.SIGNING}
    with pytest.raises(TokenInvalid):
        await TokenVerifier(elsewhere.keys, ["app"]).verify(token, now_s=clock.now_s)
    with pytest.raises(ConfigError, match="no key of this id"):
        signer.withdraw(leaked)


async def test_a_folder_that_cannot_be_read_for_a_while_refuses_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    signer = open_signer(tmp_path / "keys", clock)
    stranger = tmp_path / "keys" / "stranger.json"
    stranger.write_text("{")
    stranger.chmod(0o600)
    withdrawn = signer.rotate()
    signer.withdraw(withdrawn)
    assert withdrawn not in kids(signer)
    for _ in range(3):
        token = signer.issue("ann", audience="app", now_s=clock.now_s).token
        assert (await TokenVerifier(signer.keys, ["app"]).verify(token, now_s=clock.now_s)).user_id == "ann"
    assert [record.event for record in caplog.records if record.levelno == logging.WARNING] == [  # type: ignore[attr-defined]  # of our own records
        "backend.key_folder_failed"
    ]
    stranger.unlink()
    signer.rotate_if_due()
    assert len(open_signer(tmp_path / "keys", clock).stages()) == len(signer.stages()) == 1


def test_a_token_may_not_outlive_its_key_and_an_unknown_algorithm_is_refused(tmp_path: Path) -> None:
    signer = open_signer(tmp_path / "keys", Clock())
    with pytest.raises(ValueError, match="token_lifetime_max_s"):
        signer.issue("ann", audience="app", now_s=NOW_S, lifetime_s=601)
    with pytest.raises(ConfigError, match="none"):
        RotatingSigner.open(tmp_path / "more", algorithm="none")


async def test_a_task_rotates_in_time_and_goes_on_after_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    folder = tmp_path / "keys"
    signer = open_signer(folder, clock)
    first = signer.kid
    rounds: list[float] = []

    async def sleep(seconds: float) -> None:
        """The third round finds the folder closed, the fourth open again."""
        assert seconds == ROTATION_CHECK_S
        rounds.append(clock.now_s)
        folder.chmod(0o770 if len(rounds) == 2 else 0o700)
        clock.now_s = NOW_S + [0, 0, 9500, 9600, 10_600][len(rounds)]
        if len(rounds) == 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await signer.keep_rotating(sleep=sleep)
    assert list(signer.stages().values()) == [KeyStage.RETIRING, KeyStage.SIGNING]
    assert (first in signer.stages(), signer.kid != first) == (True, True)
    assert "backend.rotation_failed" in [getattr(record, "event", "") for record in caplog.records]
