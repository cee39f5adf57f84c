"""What a trial takes in memory. Bombs are tried in a process of their own, so that each begins with as little as the first."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

from tests.support.sync_config_fuzz.trial import Ending, try_config

__all__ = ["peak_bytes", "try_apart"]


def peak_bytes() -> int:
    """The most memory that this process has held. (`ru_maxrss` would begin with that of the process that started this one.)"""
    return _status_bytes("VmHWM")


def _status_bytes(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{name}:"))


def try_apart(text: str) -> tuple[Ending, int]:
    """Try a text in a copy of this process: how it ended, and by how many bytes the copy grew."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            before = _status_bytes("VmRSS")
            ending = try_config(text)
            with os.fdopen(writing, "wb") as answer:
                pickle.dump((ending, max(0, peak_bytes() - before)), answer)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        given = answer.read()
    _, status = os.waitpid(process, 0)
    if not given:
        return Ending("crash", 0.0, f"the process ended with status {status}"), 0
    found: tuple[Ending, int] = pickle.loads(given)
    return found
