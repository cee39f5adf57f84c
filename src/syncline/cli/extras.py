"""What to say when a command needs an extra that is not installed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import typer

__all__ = ["extra_needed"]


@contextmanager
def extra_needed(*names: str) -> Generator[None]:
    """Around the imports of a command: turns a missing module into the exact line that installs it."""
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name is not None and exc.name.startswith("syncline"):
            raise
        typer.echo(f"This command needs the module {exc.name}. Install it with:\n", err=True)
        typer.echo(f'    pip install "syncline[{",".join(names)}]"', err=True)
        raise typer.Exit(1) from exc
