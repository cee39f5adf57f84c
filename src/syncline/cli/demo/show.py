"""The demo as a whole: start, show, stay."""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
import time
from pathlib import Path

import typer

from syncline.cli.demo.devices import Device
from syncline.cli.demo.model import ALICE, BOB
from syncline.cli.demo.prompt import run_prompt
from syncline.cli.demo.scenario import Scenario, StepFailed
from syncline.cli.demo.stack import running_stack
from syncline.errors import SynclineError

__all__ = ["run_demo"]


async def run_demo(*, check_only: bool, folder: Path | None) -> int:
    """Run the demo; returns the exit code: 0, or 1 with what failed."""
    logging.basicConfig(level=logging.WARNING, format="   %(levelname)s %(message)s")
    started_s = time.monotonic()
    async with contextlib.AsyncExitStack() as closing:
        place = folder or Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="syncline-demo-")))
        place.mkdir(parents=True, exist_ok=True)
        typer.secho("Starting Postgres, the sync service and a backend …", bold=True)
        try:
            stack = await closing.enter_async_context(running_stack(place))
            typer.echo(
                f"   Postgres  {stack.postgres_dsn}\n   service   {stack.service_url}\n   backend   {stack.backend_url}"
            )
            typer.echo(f"   files     {place}")
            phone = Device("Alice's phone", ALICE, place / "alice-phone.db", stack.backend_url)
            laptop = Device("Alice's laptop", ALICE, place / "alice-laptop.db", stack.backend_url)
            bobs_phone = Device("Bob's phone", BOB, place / "bob-phone.db", stack.backend_url)
            for device in (phone, laptop, bobs_phone):
                await closing.enter_async_context(device.db)
            await Scenario(stack, phone, laptop, bobs_phone, started_s).play()
        except (StepFailed, SynclineError, TimeoutError) as exc:
            typer.secho(f"\nThe demo failed: {exc}", fg=typer.colors.RED, err=True)
            return 1
        typer.secho(f"\nAll steps hold ({time.monotonic() - started_s:.1f} s).", bold=True)
        if not check_only and sys.stdin is not None:
            await run_prompt(stack, phone, [laptop, bobs_phone])
    return 0
