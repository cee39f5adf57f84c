"""A headless Chromium as a process; what drives it is its starter's own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

__all__ = ["chromium_log", "chromium_program", "running_chromium"]

LOG = "browser.log"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # a container's root has no other way
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium_program() -> Path:
    """The browser on PATH. Skips the test, with the reason, without one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        reason = "no Chromium on PATH: `apt-get install chromium`, or another browser of its family, brings one"
        print(reason)
        pytest.skip(reason)
    return Path(found)


@asynccontextmanager
async def running_chromium(*arguments: str) -> AsyncGenerator[Path]:
    """Run it; inside is the folder of its profile, gone afterwards. Skips the test, with the reason, where there is none."""
    program = chromium_program()
    profile = Path(tempfile.mkdtemp(prefix="syncline-chromium-"))
    with (profile / LOG).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(program),
            *ARGUMENTS,
            f"--user-data-dir={profile}",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # the browser is many processes: they end together
        )
    try:
        yield profile
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await asyncio.to_thread(shutil.rmtree, profile, ignore_errors=True)


def chromium_log(profile: Path) -> str:
    """What it has said so far."""
    return (profile / LOG).read_text(errors="replace")
