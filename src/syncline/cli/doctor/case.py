"""What `doctor` was told, what its checks have found out so far, and the walk through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncline.cli.doctor.verdicts import Diagnosis, Outcome, Verdict, unjudged

if TYPE_CHECKING:
    from syncline.cli.doctor.source_facts import SourceFacts
    from syncline.cli.project import AdminAddress
    from syncline.cli.service_file import LoadedServiceFile
    from syncline.service.config import ServiceConfig
    from syncline.storage.control_model import VersionReport

__all__ = ["Case", "Check", "examine"]


@dataclass(slots=True)
class Case:
    """One examination. The upper part was given, the lower part is found on the way, and None until then.

    `service_url` is the service itself, `endpoint` what devices are given: the same, or a proxy before it. `wait_s` is how long a
    first line may take; `waits_for_keepalive`: an idle stream is watched too.
    """

    config_path: Path
    sync_config_path: Path
    environment: Mapping[str, str]
    service_url: str
    endpoint: str
    token: str
    wait_s: float
    waits_for_keepalive: bool = False
    admin: AdminAddress | None = None
    loaded: LoadedServiceFile | None = None
    source: SourceFacts | None = None
    versions: Sequence[VersionReport] | None = None
    diagnostics: dict[str, Any] | None = None
    header: dict[str, Any] = field(default_factory=dict[str, Any])
    claims: dict[str, Any] = field(default_factory=dict[str, Any])
    service_clock_s: float | None = None  # how far the service's clock is ahead of ours

    @property
    def config(self) -> ServiceConfig | None:
        """The service's configuration, where it could be read."""
        return self.loaded.config if self.loaded else None

    def sync_config(self) -> str | None:
        """The text of the sync config: the one that the configuration names, else the project's; None where there is none."""
        from syncline.errors import ConfigError

        try:
            if self.config is not None and self.config.has_sync_config:
                return self.config.sync_config_text()
            return self.sync_config_path.read_text("utf-8")
        except (ConfigError, OSError, UnicodeDecodeError):
            return None


@dataclass(frozen=True, slots=True)
class Check:
    """One check. Where one of those it `needs` is not ok, it is skipped, because of that one."""

    name: str
    title: str
    look: Callable[[Case], Verdict]
    needs: tuple[str, ...] = ()


def examine(case: Case, checks: Sequence[Check]) -> Diagnosis:
    """Walk through all checks: a fault hides those that hang on it, and no others."""
    found: dict[str, Verdict] = {}
    for check in checks:
        broken = next((name for name in check.needs if found[name].outcome is not Outcome.OK), None)
        found[check.name] = check.look(case) if broken is None else unjudged(_because(broken, found[broken]))
    return Diagnosis([(check.name, check.title, found[check.name]) for check in checks])


def _because(name: str, verdict: Verdict) -> str:
    if verdict.outcome is Outcome.FAILED:
        return f"{name} has failed"
    return verdict.reason
