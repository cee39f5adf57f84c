"""Exit codes of the command line, and the one way in which a command ends with a message.

The commands of the service's process (`start`, `migrate up`, `compact`, `teardown`, `test-connection`) keep their own codes:
`syncline.service.exit_codes`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import typer

from syncline.errors import SynclineError

__all__ = [
    "EXIT_FAILED",
    "EXIT_OK",
    "EXIT_UNREACHABLE",
    "EXIT_USAGE",
    "CommandFailed",
    "ServiceUnreachable",
    "failures_told",
]

EXIT_OK = 0
EXIT_FAILED = 1  # a check that failed, or an error
EXIT_USAGE = 2  # a wrong command line
EXIT_UNREACHABLE = 3  # the service does not answer; 1 where the official command says 1


class CommandFailed(Exception):
    """A command cannot do what it was asked for. `hint` says what to do instead; `exit_code` is how the process ends."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ServiceUnreachable(CommandFailed):
    """The service's admin API does not answer."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = EXIT_UNREACHABLE) -> None:
        super().__init__(message, hint=hint, exit_code=exit_code)


@contextmanager
def failures_told(*, unreachable: int = EXIT_UNREACHABLE) -> Generator[None]:
    """Around what a command does: an expected failure is told on standard error, without a traceback.

    `unreachable` is the exit code for a service that does not answer; the commands of the official CLI say 1.
    """
    try:
        yield
    except ServiceUnreachable as exc:
        typer.echo(f"Error: {exc}", err=True)
        raise typer.Exit(unreachable if exc.exit_code == EXIT_UNREACHABLE else exc.exit_code) from exc
    except CommandFailed as exc:
        typer.echo(f"Error: {exc}", err=True)
        raise typer.Exit(exc.exit_code) from exc
    except SynclineError as exc:
        typer.echo(f"Error: {exc}", err=True)
        raise typer.Exit(EXIT_FAILED) from exc
