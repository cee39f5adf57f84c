"""Each checker catches the bug that it is there for: a product with one thing broken does not get through."""

from __future__ import annotations

import pytest

from tests.simulation.checkers import Violation
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.subject import Subject
from tests.simulation.world import run_world

SEEDS_MAX = 60  # runs until a mutant has to be caught; nearly all are within three


def first_violation(mutant: Mutant) -> tuple[int, Violation] | None:
    """The run that caught it, and how."""
    for seed in range(SEEDS_MAX):
        try:
            run_world(mutant.plan(seed), subject=mutant.subject)
        except Violation as violation:
            return seed, violation
    return None


# A violation ends a run in the middle: generators of dead devices are then collected late, and find their files closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_product_is_caught_and_the_whole_one_is_not(mutant: Mutant) -> None:
    found = first_violation(mutant)
    assert found is not None, f"not caught in {SEEDS_MAX} runs"
    seed, violation = found
    print(f"caught in run {seed + 1}: {violation}")
    assert violation.contract in mutant.caught_by
    run_world(mutant.plan(seed), subject=Subject())  # so it is the mutation that was caught, and not the plan
