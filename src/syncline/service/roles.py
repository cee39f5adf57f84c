"""What a process does of the service's work (service config reference, 3): `syncline start -r …`, or PS_RUNNER_TYPE.

And how many processes there are: `--workers`, or SYNCLINE_WORKERS (ours); and when one of them counts as hanging:
SYNCLINE_HANG_TIMEOUT_S (ours).
"""

from __future__ import annotations

import enum
import math
import os
from collections.abc import Mapping

from syncline.errors import ConfigError
from syncline.service.supervisor_plan import HANG_TIMEOUT_S

__all__ = ["HANG_TIMEOUT_MIN_S", "WORKERS_MAX", "Role", "parse_hang_timeout", "parse_role", "parse_workers"]

WORKERS_MAX = 64  # workers of one service: each is a process with connections of its own to storage
HANG_TIMEOUT_MIN_S = 3.0  # seconds: below this, a busy machine looks like a hanging process


class Role(enum.StrEnum):
    """Which parts run."""

    UNIFIED = "unified"  # migrations, replication and the API
    API = "api"  # the API alone, beside a process that replicates; migrates nothing
    SYNC = "sync"  # migrations and replication; HTTP for probes only, where they are asked for

    @property
    def replicates(self) -> bool:
        """Whether replication runs here."""
        return self is not Role.API

    @property
    def serves(self) -> bool:
        """Whether clients are served here."""
        return self is not Role.SYNC


def parse_role(option: str | None, environment: Mapping[str, str]) -> Role:
    """The role that the command line names, else the environment, else all. Raises ConfigError for another word."""
    text = option or environment.get("PS_RUNNER_TYPE") or Role.UNIFIED
    try:
        return Role(text)
    except ValueError as exc:
        raise ConfigError(
            f"There is no runner type {text!r}.", hint=f"Choose one of {', '.join(Role)} for -r or PS_RUNNER_TYPE."
        ) from exc


def parse_workers(option: int | None, environment: Mapping[str, str]) -> int:
    """How many API workers there are: the command line says, else the environment, else one fewer than cores, at least one.

    0 stands for a service of one process. Raises ConfigError.
    """
    text = str(option) if option is not None else environment.get("SYNCLINE_WORKERS", "")
    if not text:
        return min(max(_cores() - 1, 1), WORKERS_MAX)
    if not text.isdecimal() or int(text) > WORKERS_MAX:
        raise ConfigError(
            f"The number of workers is {text!r}; it must be a number from 0 to {WORKERS_MAX}.",
            hint="Give --workers or SYNCLINE_WORKERS a number. 0 has the whole service run in one process.",
        )
    return int(text)


def parse_hang_timeout(environment: Mapping[str, str]) -> float:
    """Seconds without a sign of life after which a process of the service is killed and started again. Raises ConfigError."""
    text = environment.get("SYNCLINE_HANG_TIMEOUT_S", "")
    if not text:
        return HANG_TIMEOUT_S
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not seconds >= HANG_TIMEOUT_MIN_S:
        raise ConfigError(
            f"SYNCLINE_HANG_TIMEOUT_S is {text!r}; it must be a number of seconds from {HANG_TIMEOUT_MIN_S:g} on.",
            hint="`inf` never kills a process that hangs.",
        )
    return seconds


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
