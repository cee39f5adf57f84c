from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from syncline.sync.small_sets import SmallSets


class Member:
    """Equal to itself only, as streams are."""


MEMBERS = [Member() for _ in range(4)]
_steps = st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from(range(len(MEMBERS)))), max_size=40)


@given(_steps)
def test_it_has_the_members_that_plain_sets_have(steps: Sequence[tuple[bool, str, int]]) -> None:
    sets: SmallSets[Member] = SmallSets()
    plain: dict[str, set[Member]] = {key: set() for key in "abc"}
    for adds, key, index in steps:
        member = MEMBERS[index]
        if adds:
            sets.add(key, member)
            plain[key].add(member)
        else:
            sets.discard(key, member)
            plain[key].discard(member)
        for each, members in plain.items():
            found = sets.of(each)
            assert len(found) == len(members)
            assert set(found) == members
    assert len(sets) == sum(map(len, plain.values()))
    assert sorted(map(id, sets.members())) == sorted(id(member) for members in plain.values() for member in members)


def test_nothing_is_kept_of_keys_that_are_empty() -> None:
    sets: SmallSets[Member] = SmallSets()
    for member in MEMBERS:
        sets.add("a", member)
    for member in MEMBERS:
        sets.discard("a", member)
    assert sets._by_key == {}
