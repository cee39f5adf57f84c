"""`syncline demo`: Postgres, the service, a backend and three devices on this machine."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.extras import extra_needed

__all__ = ["demo"]


def demo(
    check: bool = typer.Option(False, "--check", help="Play the scenario by itself, check every step, and leave."),
    folder: Path = typer.Option(None, "--folder", help="Keep the demo's files here instead of in a temporary folder."),
    port: int = typer.Option(0, "--port", min=0, max=65535, help="Serve the web page at this port; 0 is a free one."),
    no_browser: bool = typer.Option(False, "--no-browser", help="Print the web page's address, and open no browser."),
) -> None:
    """Start everything, show a row travelling between devices, then stay for you to try, here and in a browser."""
    import asyncio  # here, so that the help of other commands need not wait for it

    with extra_needed("all"):
        from syncline.cli.demo.show import DemoOptions, run_demo
    place = folder.resolve() if folder is not None else None  # pyright: ignore[reportUnnecessaryComparison] - typer's default
    options = DemoOptions(check_only=check, folder=place, port=port, browser=not no_browser)
    raise typer.Exit(asyncio.run(run_demo(options)))
