"""Facts of an answer: which row or connection stands in which bucket. Two sets of facts are equal up to the names of bucket sources."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

__all__ = ["Bucket", "Fact", "Facts", "missing_facts", "renamed_equal", "split_bucket"]

Bucket = tuple[str, str]
"""The bucket source, and its values in an order of their own: that of several values is each side's choice."""
Fact = tuple[Any, ...]
"""Place (`row 0`, `connection 1`), `Bucket`, and what else is told of the place in the bucket."""
Facts = set[Fact]


def split_bucket(name: str) -> Bucket:
    """Source and sorted values of a bucket name."""
    start = name.find("[")
    while start >= 0:
        try:
            return name[:start], json.dumps(sorted(json.loads(name[start:]), key=repr))
        except ValueError:  # a `[` of the source's name
            start = name.find("[", start + 1)
    return name, ""


def renamed_equal(ours: Facts, theirs: Facts) -> bool:
    """Whether a one-to-one renaming of bucket sources makes the two equal."""
    return ours == theirs or _by_source(ours) == _by_source(theirs)


def missing_facts(ours: Facts, theirs: Facts) -> list[str]:
    """What either side has alone, for a person."""
    return [
        *(f"recorded only: {fact}" for fact in sorted(theirs - ours, key=repr)),
        *(f"ours only:     {fact}" for fact in sorted(ours - theirs, key=repr)),
    ]


def _by_source(facts: Facts) -> Counter[frozenset[Fact]]:
    grouped: dict[str, set[Fact]] = {}
    for place, (source, values), *rest in facts:
        grouped.setdefault(source, set()).add((place, values, *rest))
    return Counter(frozenset(group) for group in grouped.values())
