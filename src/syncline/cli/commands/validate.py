"""`syncline validate`: check the project's configuration, its connections, and its sync config."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import typer

from syncline.cli.exit_codes import EXIT_FAILED, CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import OUTPUT, Output, say, write_result
from syncline.cli.project import API_URL, DIRECTORY, Project, admin_address, open_project
from syncline.cli.validation.results import CHECKS, CheckResult, as_text, as_value, skipped
from syncline.errors import ConfigError, SourceError

__all__ = ["run_checks", "validate"]

_LIST = f"between commas: {', '.join(CHECKS)}."


def validate(
    directory: str = DIRECTORY,
    api_url: str | None = API_URL,
    sync_config_file_path: Path | None = typer.Option(
        None, "--sync-config-file-path", help="Check this sync config instead of the project's."
    ),
    skip_validations: str = typer.Option("", "--skip-validations", help=f"Checks to leave out, {_LIST}"),
    validate_only: str = typer.Option("", "--validate-only", help=f"Checks to run alone, {_LIST}"),
    offline: bool = typer.Option(False, "--offline", help="Connect to nothing: check the files alone."),
    output: Output = OUTPUT,
) -> None:
    """Check the configuration, the connections and the sync config.

    The sync config is checked by the linked service, which knows the source's tables; without a link by the tables of the source that
    service.yaml names, or by its text alone where that cannot be asked. Ends with 1 where a check has failed.
    """
    with failures_told(unreachable=EXIT_FAILED), extra_needed("service"):
        without = _names("--skip-validations", skip_validations)
        only = _names("--validate-only", validate_only)
        if sync_config_file_path is not None and not sync_config_file_path.is_file():
            raise CommandFailed(f"Parsing --sync-config-file-path\nNo file found at {sync_config_file_path}")
        wanted = [check for check in CHECKS if check not in without and (not only or check in only)]
        project = open_project(directory)
        if output is Output.HUMAN:
            for check in wanted:
                say(f"... {CHECKS[check]}")
        sync_config = sync_config_file_path or project.sync_config_path
        results = run_checks(wanted, project, sync_config, api_url=api_url, offline=offline)
        write_result(as_value(results), output, lambda: as_text(results))
    raise typer.Exit(0 if all(result.passed for result in results) else EXIT_FAILED)


def run_checks(
    wanted: list[str], project: Project, sync_config: Path, *, api_url: str | None, offline: bool
) -> list[CheckResult]:
    """The results of the checks; those that are left out come first."""
    from syncline.cli.validation.service_checks import check_configuration, check_connections

    def connections() -> CheckResult:
        if offline:
            return CheckResult("connections", warnings=["Not tested: offline."])
        return check_connections(project.service_path, os.environ)

    checks: dict[str, Callable[[], CheckResult]] = {
        "configuration": lambda: check_configuration(project.service_path, os.environ),
        "connections": connections,
        "sync-config": lambda: _sync_config(project, sync_config, api_url, offline=offline),
    }
    return [*(skipped(check) for check in CHECKS if check not in wanted), *(checks[check]() for check in wanted)]


def _sync_config(project: Project, path: Path, api_url: str | None, *, offline: bool) -> CheckResult:
    from syncline.cli.admin_client import AdminClient
    from syncline.cli.validation.sync_config_check import check_by_service, check_by_text, read_sync_config

    text = read_sync_config(path)
    if text is None:
        return CheckResult("sync-config", errors=["No sync config content was provided."])
    linked = api_url or project.text_of_link("api_url") or os.environ.get("API_URL")
    if offline:
        return check_by_text(text)
    if not linked:
        return _check_here(text, project)
    try:
        address = admin_address(str(project.directory), api_url)
    except CommandFailed as exc:
        return CheckResult("sync-config", errors=[str(exc)])
    return check_by_service(text, AdminClient(address))


def _check_here(text: str, project: Project) -> CheckResult:
    """Without a link: by the tables of the source that service.yaml names, where it can be asked."""
    from syncline.cli.service_file import load_service_file
    from syncline.cli.validation.sync_config_check import check_by_source, check_by_text

    try:
        loaded = load_service_file(project.service_path, os.environ)
        if not loaded.unset_of_databases:
            return check_by_source(text, loaded.config)
    except (ConfigError, SourceError):
        pass  # the other checks say so
    return check_by_text(text)


def _names(option: str, text: str) -> list[str]:
    """Ids of checks from an option. Raises CommandFailed for one that there is not."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        raise CommandFailed(
            f"Parsing {option}\nInvalid validation test(s) specified in {option}: {', '.join(unknown)}."
            f" Valid options are: {', '.join(CHECKS)}."
        )
    return names
