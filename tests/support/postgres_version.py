"""Tests of what an older Postgres does not have."""

from __future__ import annotations

import pytest

from syncline.testing.postgres import ScratchDatabase

__all__ = ["needs_postgres"]


def needs_postgres(database: ScratchDatabase, version: int, what: str) -> None:
    """Skip the test on servers before this major version, which have no such thing."""
    [(number,)] = database.execute("SELECT current_setting('server_version_num')::int")
    if number < version * 10_000:
        pytest.skip(f"{what} came with Postgres {version}; this is {number // 10_000}")
