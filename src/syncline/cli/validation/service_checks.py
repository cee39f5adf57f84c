"""The checks `configuration` and `connections`: whether service.yaml can be used, and what it names can be reached."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from syncline.cli.service_file import load_service_file
from syncline.cli.validation.results import CheckResult
from syncline.errors import ConfigError

__all__ = ["check_configuration", "check_connections"]


def check_configuration(path: Path, environment: Mapping[str, str]) -> CheckResult:
    """Whether the service would start with this file. Variables that are not set here are warned of."""
    result = CheckResult("configuration")
    if not path.exists():
        result.warnings.append(f"There is no {path}: nothing to check.")
        return result
    try:
        loaded = load_service_file(path, environment)
    except ConfigError as exc:
        result.errors.append(str(exc))
        return result
    result.warnings += loaded.config.notes
    if loaded.unset:
        result.warnings.append(f"Not set here, so what they hold was not checked: {', '.join(loaded.unset)}.")
    return result


def check_connections(path: Path, environment: Mapping[str, str]) -> CheckResult:
    """Whether the source can be replicated and storage hold buckets. Connects to both and changes nothing."""
    from syncline.service.commands.check_connection import connection_findings

    result = CheckResult("connections")
    if not path.exists():
        result.warnings.append(f"There is no {path}: nothing to connect to.")
        return result
    try:
        loaded = load_service_file(path, environment)
    except ConfigError:
        result.warnings.append("Not tested: the configuration cannot be used.")
        return result
    if loaded.unset_of_databases:
        result.warnings.append(f"Not tested: {', '.join(loaded.unset_of_databases)} not set here.")
        return result
    for finding in connection_findings(loaded.config):
        text = f"{finding.problem}\n{finding.fix}" if finding.fix else finding.problem
        (result.errors if finding.is_required else result.warnings).append(text)
    return result
