"""Exit codes of the service's process and commands (service config reference, 6), and how errors become them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from syncline.errors import ConfigError, SyncConfigError, SynclineError
from syncline.service.config import SyncConfigMissing

__all__ = ["EXIT_FAILED", "EXIT_FATAL", "EXIT_OK", "CommandInvalid", "exit_code_of", "tell"]

EXIT_OK = 0
EXIT_FAILED = 1  # a command that failed, a wrong command line, a sync config that is missing or invalid
EXIT_FATAL = 150  # before or while starting: bad configuration, storage missing, port in use

log = logging.getLogger(__name__)


class CommandInvalid(SynclineError):
    """A wrong command line: the command has done nothing."""

    code = "PSYNC_S2001"


def tell(error: SynclineError) -> None:
    """One error on standard error, with its code and what to do; no traceback."""
    sys.stderr.write(f"{error}\n")


def exit_code_of(
    action: Callable[[], int | None], *, failed: int = EXIT_FAILED, say: Callable[[SynclineError], None] = tell
) -> int:
    """Run `action` and turn what it raises into an exit code: 150 for the configuration, `failed` for all else.

    `say` tells an error of ours; a bug is logged with its traceback.
    """
    try:
        return action() or EXIT_OK
    except (SyncConfigError, SyncConfigMissing) as exc:
        say(exc)
        return EXIT_FAILED
    except ConfigError as exc:
        say(exc)
        return EXIT_FATAL
    except SynclineError as exc:
        say(exc)
        return failed
    except Exception:
        log.exception("Something went wrong that should not", extra={"event": "service.crash"})
        return failed
