"""Hypothesis profiles: `quick` for every run, `deep` where HYPOTHESIS_PROFILE asks for it. And which Postgres a run is about."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

from hypothesis import settings

from syncline.embedded.binaries import VARIABLE

# pytest-asyncio asks for the loop that is current, and asking makes one that nobody closes, unless it was said that there is none.
asyncio.set_event_loop(None)

settings.register_profile("quick", max_examples=50, deadline=None, print_blob=True)
settings.register_profile("deep", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_report_header() -> str:
    """The Postgres that the environment names, as `make soak` does for each version."""
    named = os.environ.get(VARIABLE)
    if not named:
        return "Postgres: the embedded one"
    return subprocess.run(
        [Path(named) / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
