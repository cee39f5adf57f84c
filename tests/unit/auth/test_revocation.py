"""Users whose tokens are refused until a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.auth.revocation import REVOCATIONS_MAX, RevocationList, RevocationsFull


def test_a_user_is_refused_until_the_time_and_no_longer() -> None:
    revocations = RevocationList()
    revocations.revoke("ann", 100)
    assert [revocations.is_revoked("ann", now_s) for now_s in (0, 99.9, 100, 0)] == [True, True, False, False]
    assert not revocations.is_revoked("bob", 0)
    assert len(revocations) == 0  # what has ended is forgotten


def test_the_newest_revocation_counts_also_a_shorter_one() -> None:
    revocations = RevocationList()
    revocations.revoke("ann", 100)
    revocations.revoke("ann", 200)
    assert revocations.is_revoked("ann", 199)
    revocations.revoke("ann", 50)
    assert (revocations.is_revoked("ann", 49), revocations.is_revoked("ann", 50)) == (True, False)


def test_a_revocation_can_be_lifted() -> None:
    revocations = RevocationList()
    revocations.revoke("ann", 100)
    assert (revocations.lift("ann"), revocations.lift("ann"), revocations.is_revoked("ann", 0)) == (True, False, False)


def test_the_list_is_bounded_and_forgets_nobody_who_is_still_refused() -> None:
    revocations = RevocationList(capacity=3)
    for user, until_s in (("ann", 10), ("bob", 20), ("cem", 30)):
        revocations.revoke(user, until_s)
    with pytest.raises(RevocationsFull) as caught:
        revocations.revoke("dan", 40)
    assert (caught.value.status, len(revocations), revocations.is_revoked("dan", 0)) == (503, 3, False)
    revocations.revoke("cem", 50)  # one who is there already needs no room
    assert not revocations.is_revoked("eve", 20)  # it is 20 now: two have ended
    revocations.revoke("dan", 40)
    assert [revocations.is_revoked(user, 25) for user in ("ann", "bob", "cem", "dan")] == [False, False, True, True]
    assert len(revocations) == 2


def test_the_list_holds_as_many_users_as_its_limit_says() -> None:
    revocations = RevocationList()
    for number in range(REVOCATIONS_MAX):
        revocations.revoke(str(number), 10)
    with pytest.raises(RevocationsFull):
        revocations.revoke("one more", 10)
    assert len(revocations) == REVOCATIONS_MAX


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["revoke", "lift", "wait"]), st.sampled_from("abcde"), st.integers(0, 20)),
        max_size=60,
    )
)
def test_it_answers_as_a_plain_map_of_times_does(steps: list[tuple[str, str, int]]) -> None:
    revocations, model, now_s = RevocationList(capacity=3), dict[str, float](), 0
    for action, user, number in steps:
        if action == "wait":
            now_s += number
            revocations.is_revoked(user, now_s)
            model = {name: until_s for name, until_s in model.items() if until_s > now_s}
        elif action == "lift":
            assert revocations.lift(user) == (model.get(user, 0) > now_s)
            model.pop(user, None)
        else:
            try:
                revocations.revoke(user, now_s + number)
            except RevocationsFull:
                assert user not in model
                assert len(revocations) == 3
                continue
            model[user] = now_s + number
        assert {name for name in "abcde" if now_s < model.get(name, 0)} == {
            name for name in "abcde" if revocations.is_revoked(name, now_s)
        }
        assert len(revocations) <= 3
