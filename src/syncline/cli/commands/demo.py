"""`syncline demo`: Postgres, the service, a backend and three devices on this machine."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.extras import extra_needed

__all__ = ["demo"]


def demo(
    check: bool = typer.Option(False, "--check", help="Play the scenario by itself, check every step, and leave."),
    folder: Path = typer.Option(None, "--folder", help="Keep the demo's files here instead of in a temporary folder."),
) -> None:
    """Start everything, show a row travelling between devices, then stay for you to try."""
    import asyncio  # here, so that the help of other commands need not wait for it

    with extra_needed("all"):
        from syncline.cli.demo.show import run_demo
    raise typer.Exit(asyncio.run(run_demo(check_only=check, folder=folder)))
