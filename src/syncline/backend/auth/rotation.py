"""When a signing key is made, signs, retires and is forgotten. Pure: keys and a clock in, stages and steps out.

A key's stage is never written down: it follows from the moment at which each key begins to sign. So all processes that see the same
keys agree without a word, and a process that dies in the middle leaves nothing half done.

    announced ──signs_from_s──▶ signing ──the next key's signs_from_s──▶ retiring ──its last token has ended──▶ ended

Facts: write path reference, 7 ("rotation command"); configuration reference, 4 ("JWKS fetch": how long verifiers keep keys).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from syncline.auth.claims import CLOCK_TOLERANCE_S, MAX_LIFETIME_S
from syncline.errors import ConfigError

__all__ = [
    "ANNOUNCE_S",
    "KEYS_MAX",
    "ROTATE_EVERY_S",
    "CreateKey",
    "DeleteKey",
    "KeyStage",
    "KeyTimes",
    "RotationRules",
    "due_steps",
    "key_stages",
    "next_key",
]

ANNOUNCE_S = 2 * 3600  # seconds that a key is published before it signs: verifiers keep a key set for an hour
ROTATE_EVERY_S = 90 * 86_400  # seconds that a key signs
KEYS_MAX = 16  # keys at a time: each of them is published, and read at start
_CLOCKS_APART_S = 2 * CLOCK_TOLERANCE_S  # the clock of who signs may be late, and that of who verifies too


class KeyStage(enum.Enum):
    """What a key is for at a moment."""

    ANNOUNCED = (
        "announced"  # published, so that every verifier knows it before its first token; leaves at `signs_from_s`
    )
    SIGNING = "signing"  # signs new tokens; leaves when the next key begins
    RETIRING = "retiring"  # signs no more; published until the last token that it may have signed has ended
    ENDED = "ended"  # verifies nothing any more: not published, and may be deleted


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """A key, and when it begins to sign (seconds since 1970). Neither changes as long as the key exists."""

    kid: str
    signs_from_s: int


@dataclass(frozen=True, slots=True)
class RotationRules:
    """How keys follow each other, in seconds. Raises ConfigError for times that cannot work.

    `announce_s` is how long a key is published before it signs. `rotate_every_s` is how long one signs, None: until somebody asks for
    the next. `token_lifetime_max_s` is the longest that any token of these keys was ever issued for; a day is always right, and a
    shorter one lets retiring keys go sooner.
    """

    announce_s: int = ANNOUNCE_S
    rotate_every_s: int | None = ROTATE_EVERY_S
    token_lifetime_max_s: int = MAX_LIFETIME_S

    def __post_init__(self) -> None:
        if self.announce_s < 1:
            raise ConfigError("announce_s must be at least 1 second.", hint=f"{ANNOUNCE_S} suits every verifier.")
        if not 1 <= self.token_lifetime_max_s <= MAX_LIFETIME_S:
            raise ConfigError(f"token_lifetime_max_s must be 1 to {MAX_LIFETIME_S} seconds.")
        least_s = self.announce_s + self.retire_s
        if self.rotate_every_s is not None and self.rotate_every_s < least_s:
            raise ConfigError(
                f"rotate_every_s must be at least {least_s} seconds here: announce_s and the life of the last tokens.",
                hint="Else keys would be made faster than they end.",
            )

    @property
    def retire_s(self) -> int:
        """Seconds after its last signature for which a key stays published."""
        return self.token_lifetime_max_s + _CLOCKS_APART_S


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Make a key that begins to sign then (seconds since 1970)."""

    signs_from_s: int


@dataclass(frozen=True, slots=True)
class DeleteKey:
    """Forget a key: no token of it is good any more."""

    kid: str


def key_stages(keys: Iterable[KeyTimes], rules: RotationRules, *, now_s: float) -> dict[str, KeyStage]:
    """The stage of each key at `now_s`, oldest key first. Exactly one signs, where there is any.

    Where the time of none has come (the one that signed was withdrawn), the earliest signs: it is published already.
    """
    ordered = sorted(keys, key=lambda key: (key.signs_from_s, key.kid))
    begun = sum(key.signs_from_s <= now_s for key in ordered)
    signing = max(begun - 1, 0)
    stages: dict[str, KeyStage] = {}
    for index, key in enumerate(ordered):
        if index > signing:
            stages[key.kid] = KeyStage.ANNOUNCED
        elif index == signing:
            stages[key.kid] = KeyStage.SIGNING
        else:
            ends_s = ordered[index + 1].signs_from_s + rules.retire_s
            stages[key.kid] = KeyStage.RETIRING if now_s < ends_s else KeyStage.ENDED
    return stages


def due_steps(keys: Iterable[KeyTimes], rules: RotationRules, *, now_s: float) -> list[CreateKey | DeleteKey]:
    """What is to be done at `now_s`, in this order: the first key, the next key in time, ended keys. Done, nothing more is due."""
    known = list(keys)
    stages = key_stages(known, rules, now_s=now_s)
    deletions = [DeleteKey(kid) for kid, stage in stages.items() if stage is KeyStage.ENDED]
    if not known:
        return [CreateKey(int(now_s))]  # nothing is issued without it, so nobody can have been told before
    if rules.rotate_every_s is None or KeyStage.ANNOUNCED in stages.values():
        return [*deletions]
    (signing,) = (key for key in known if stages[key.kid] is KeyStage.SIGNING)
    ends_s = signing.signs_from_s + rules.rotate_every_s
    if now_s < ends_s - rules.announce_s:
        return [*deletions]
    return [CreateKey(int(max(ends_s, now_s + rules.announce_s))), *deletions]


def next_key(keys: Iterable[KeyTimes], rules: RotationRules, *, now_s: float) -> CreateKey | None:
    """The step of a rotation that a person asks for; None where the next key is announced already.

    Raises ConfigError where KEYS_MAX keys have not ended.
    """
    known = list(keys)
    if not known:
        return CreateKey(int(now_s))
    stages = key_stages(known, rules, now_s=now_s)
    if KeyStage.ANNOUNCED in stages.values():
        return None
    if sum(stage is not KeyStage.ENDED for stage in stages.values()) >= KEYS_MAX:
        raise ConfigError(
            f"There are {KEYS_MAX} keys whose tokens have not ended.", hint="Rotate when the oldest has ended."
        )
    return CreateKey(int(now_s) + rules.announce_s)
