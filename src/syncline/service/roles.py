"""What a process does of the service's work (service config reference, 3): `syncline start -r …`, or PS_RUNNER_TYPE."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from syncline.errors import ConfigError

__all__ = ["Role", "parse_role"]


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
