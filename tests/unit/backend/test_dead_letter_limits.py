from __future__ import annotations

import pytest

from syncline.backend import DeadLetterLimits
from syncline.backend.dead_letters.letters import DeadLettersFull
from syncline.backend.limits import (
    DEAD_LETTER_BYTES_PER_USER_MAX,
    DEAD_LETTERS_MAX,
    DEAD_LETTERS_PER_USER_MAX,
    FAILURES_COUNTED_PER_USER_MAX,
)
from syncline.errors import ConfigError

LIMITS = DeadLetterLimits(letters_max=5, letters_per_user_max=2, bytes_per_user_max=100)


def test_the_defaults_are_the_named_limits() -> None:
    limits = DeadLetterLimits()
    assert (limits.letters_max, limits.letters_per_user_max) == (DEAD_LETTERS_MAX, DEAD_LETTERS_PER_USER_MAX)
    assert limits.bytes_per_user_max == DEAD_LETTER_BYTES_PER_USER_MAX
    assert limits.failures_per_user_max == FAILURES_COUNTED_PER_USER_MAX


@pytest.mark.parametrize("name", DeadLetterLimits.__slots__)
def test_a_limit_below_one_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}=0"):
        DeadLetterLimits(**{name: 0})


def test_the_last_letter_that_has_room_is_kept() -> None:
    LIMITS.check_user(1, 60, 40)
    LIMITS.check_all(4)


@pytest.mark.parametrize(("letters", "stored_bytes", "content_bytes"), [(2, 0, 1), (1, 60, 41), (0, 0, 101)])
def test_a_user_above_a_limit_has_no_room(letters: int, stored_bytes: int, content_bytes: int) -> None:
    with pytest.raises(DeadLettersFull):
        LIMITS.check_user(letters, stored_bytes, content_bytes)


def test_all_users_together_have_a_limit() -> None:
    with pytest.raises(DeadLettersFull):
        LIMITS.check_all(5)
