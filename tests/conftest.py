"""Hypothesis profiles: `quick` for every run, `deep` where HYPOTHESIS_PROFILE asks for it. And which Postgres a run is about."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from syncline.embedded.binaries import VARIABLE

# pytest-asyncio asks for the loop that is current, and asking makes one that nobody closes, unless it was said that there is none.
asyncio.set_event_loop(None)

settings.register_profile("quick", max_examples=50, deadline=None, print_blob=True)
settings.register_profile("deep", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


# Few tests that take minutes: begun last, one process would work on them while the other has nothing left to do.
_LONG_ONES_FIRST = ("tests/simulation/", "tests/properties/", "tests/interop/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders of long tests first; within them, and among the others, the order stays."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG_ONES_FIRST))


def pytest_report_header() -> str:
    """The Postgres that the environment names, as `make soak` does for each version."""
    named = os.environ.get(VARIABLE)
    if not named:
        return "Postgres: the embedded one"
    return subprocess.run(
        [Path(named) / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
