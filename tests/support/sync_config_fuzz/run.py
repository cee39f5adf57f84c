"""Runs many trials in one process: all bombs, then mutations that their seed and number alone decide."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.sync_config_fuzz.bombs import bombs
from tests.support.sync_config_fuzz.growth import GROWTH_MUTATORS
from tests.support.sync_config_fuzz.memory import try_apart
from tests.support.sync_config_fuzz.query_mutators import QUERY_MUTATORS, in_document, quoted
from tests.support.sync_config_fuzz.report import Report
from tests.support.sync_config_fuzz.seeds import load_seeds
from tests.support.sync_config_fuzz.text_mutators import TEXT_MUTATORS
from tests.support.sync_config_fuzz.trial import try_config

__all__ = ["Mutation", "mutation", "run_trials"]

TEXT_SHARE, QUERY_SHARE = 0.42, 0.5  # of the mutations; the rest make queries large, which takes longest
GOOD_SHARE = 0.9  # of the documents, before they are mutated
IN_PLACE_SHARE = 0.6  # of the mutated queries: they stay in the document that they come from
MUTATORS = (1, 1, 1, 2, 3)  # how many a text goes through


@dataclass(frozen=True, slots=True)
class Mutation:
    """A text, and the mutators that it went through, in order."""

    number: int
    mutators: tuple[str, ...]
    text: str


def mutation(seed: int, number: int) -> Mutation:
    """The mutation of this number."""
    draw = random.Random(f"{seed}:{number}")
    kind = draw.random()
    if kind < TEXT_SHARE:
        return _of_text(draw, number)
    return _of_query(draw, number, grow=kind >= TEXT_SHARE + QUERY_SHARE)


def _of_text(draw: random.Random, number: int) -> Mutation:
    seeds = load_seeds()
    text = draw.choice(seeds.good if draw.random() < GOOD_SHARE else seeds.bad)
    names = [draw.choice(list(TEXT_MUTATORS)) for _ in range(draw.choice(MUTATORS))]
    for name in names:
        text = TEXT_MUTATORS[name](draw, text)
    return Mutation(number, tuple(names), text)


def _of_query(draw: random.Random, number: int, *, grow: bool) -> Mutation:
    seeds = load_seeds()
    document, own = draw.choice(seeds.as_json)
    in_place = draw.random() < IN_PLACE_SHARE
    legacy = "bucket_definitions" in document if in_place else draw.random() < 0.3
    pool = seeds.legacy_queries if legacy else seeds.stream_queries
    names = [draw.choice(list(QUERY_MUTATORS)) for _ in range(draw.choice(MUTATORS))]
    if grow:
        names = [*names[: draw.randrange(2)], draw.choice(list(GROWTH_MUTATORS))]
    query = before = draw.choice(own if in_place else pool)
    for name in names:
        query = {**QUERY_MUTATORS, **GROWTH_MUTATORS}[name](draw, query, pool)
    if in_place:
        text = document.replace(quoted(before), quoted(query))
        return Mutation(number, tuple(names), text)
    queries = [query, *(draw.choice(pool) for _ in range(draw.randrange(2)))]
    return Mutation(number, tuple(names), in_document(draw, queries, seeds, legacy=legacy))


def mutations(seed: int, count: int) -> Iterator[Mutation]:
    """The first mutations of a seed."""
    return (mutation(seed, number) for number in range(count))


def run_trials(seed: int, count: int) -> Report:
    """Try all bombs and `count` mutations."""
    seeds = load_seeds()
    report = Report(seed)
    for text in (*seeds.good, *seeds.bad):  # also fills the caches of a first use
        report.add_seed(text, try_config(text))
    started = time.monotonic()
    for name, text in bombs():
        report.add_bomb(name, text, *try_apart(text))
    report.bombs_s = time.monotonic() - started
    for found in mutations(seed, count):
        report.add(found.mutators, f"mutation {found.number}", found.text, try_config(found.text))
        if (found.number + 1) % 1000 == 0:
            print(f"{found.number + 1:,} mutations, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    report.took_s = time.monotonic() - started
    return report
