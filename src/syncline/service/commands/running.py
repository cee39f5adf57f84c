"""What all commands share: the configuration, exit codes, and where they speak."""

from __future__ import annotations

import sys
from collections.abc import Callable

from syncline.service.config import ConfigSources, ServiceConfig
from syncline.service.exit_codes import exit_code_of
from syncline.service.loading import load_for_command

__all__ = ["run_command", "tell"]


def run_command(
    sources: ConfigSources, action: Callable[[ServiceConfig], int | None], *, check: Callable[[], None] = lambda: None
) -> int:
    """Run a command; its exit code. `check` looks at the command line first, so that a wrong word touches nothing."""

    def run() -> int | None:
        check()
        return action(load_for_command(sources))

    return exit_code_of(run)


def tell(text: str) -> None:
    """One line of what a command did, on standard output; logs and errors go to standard error."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
