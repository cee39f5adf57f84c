"""The demo as a whole: start, show, stay."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
import webbrowser
from dataclasses import dataclass
from pathlib import Path

import typer

from syncline.cli.demo.devices import Device
from syncline.cli.demo.model import ALICE, BOB
from syncline.cli.demo.page_server import page_origins, page_url, running_page, somebody_looks
from syncline.cli.demo.prompt import run_prompt
from syncline.cli.demo.scenario import Scenario, StepFailed
from syncline.cli.demo.serving import listen
from syncline.cli.demo.stack import running_stack
from syncline.errors import SynclineError

__all__ = ["DemoOptions", "run_demo"]


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What was asked for. `folder` None is a temporary one; `port` 0 a free one, for the web page."""

    check_only: bool = False
    folder: Path | None = None
    port: int = 0
    browser: bool = True


async def run_demo(options: DemoOptions) -> int:
    """Run the demo; returns the exit code: 0, or 1 with what failed."""
    logging.basicConfig(level=logging.WARNING, format="   %(levelname)s %(message)s")
    started_s = time.monotonic()
    async with contextlib.AsyncExitStack() as closing:
        place = options.folder or Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="syncline-demo-")))
        place.mkdir(parents=True, exist_ok=True)
        typer.secho("Starting Postgres, the sync service and a backend …", bold=True)
        try:
            listening = closing.enter_context(listen(options.port))
            stack = await closing.enter_async_context(running_stack(place, page_origins=page_origins(listening)))
            typer.echo(
                f"   Postgres  {stack.postgres_dsn}\n   service   {stack.service_url}\n   backend   {stack.backend_url}"
            )
            typer.echo(f"   files     {place}")
            phone = Device("Alice's phone", ALICE, place / "alice-phone.db", stack.backend_url)
            second = Device("Alice's second phone", ALICE, place / "alice-second-phone.db", stack.backend_url)
            bobs_phone = Device("Bob's phone", BOB, place / "bob-phone.db", stack.backend_url)
            devices = [phone, second, bobs_phone]
            for device in devices:
                await closing.enter_async_context(device.db)
            await Scenario(stack, phone, second, bobs_phone, started_s).play()
        except (StepFailed, SynclineError, TimeoutError, OSError) as exc:
            typer.secho(f"\nThe demo failed: {exc}", fg=typer.colors.RED, err=True)
            return 1
        typer.secho(f"\nAll steps hold ({time.monotonic() - started_s:.1f} s).", bold=True)
        if options.check_only:
            return 0
        async with running_page(stack, devices, listening):
            typer.secho(f"\nThe same in a browser: {page_url(listening)}", bold=True)
            if options.browser and somebody_looks():
                await asyncio.to_thread(webbrowser.open, page_url(listening))
            await run_prompt(stack, phone, [second, bobs_phone])
    return 0
