"""`syncline deploy`: put the project's sync config into the running service. The official CLI can do that in its cloud alone."""

from __future__ import annotations

from pathlib import Path

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import OUTPUT, Output, say, write_result
from syncline.cli.project import API_URL, DIRECTORY, admin_address, open_project

__all__ = ["deploy"]

DEPLOY_TIMEOUT_S = 300  # seconds, as in the official command
DEPLOYMENTS_DISABLED = "PSYNC_S4105"


def deploy(
    directory: str = DIRECTORY,
    api_url: str | None = API_URL,
    sync_config_file_path: Path | None = typer.Option(
        None, "--sync-config-file-path", help="Deploy this sync config instead of the project's."
    ),
    skip_validations: bool = typer.Option(
        False, "--skip-validations", help="Deploy without asking what is wrong with it."
    ),
    validate_only: bool = typer.Option(False, "--validate-only", help="Ask what is wrong with it, and deploy nothing."),
    deploy_timeout: float = typer.Option(
        DEPLOY_TIMEOUT_S, "--deploy-timeout", help="Seconds to wait until it is active; 0: do not wait."
    ),
    output: Output = OUTPUT,
) -> None:
    """Deploy the sync config to the linked service, and wait until it is active.

    The config before it goes on serving until then. A service whose own file names a sync config takes none: change it there.
    """
    from syncline.cli.admin_client import AdminClient, AdminRefused
    from syncline.cli.commands.status import wait_until_replicating
    from syncline.cli.validation.sync_config_check import read_sync_config

    with failures_told(), extra_needed("service"):
        project = open_project(directory)
        path = sync_config_file_path or project.sync_config_path
        text = read_sync_config(path)
        if text is None:
            raise CommandFailed(f"There is no sync config in {path}.")
        client = AdminClient(admin_address(directory, api_url))
        if not skip_validations or validate_only:
            _check(text, client)
        if validate_only:
            write_result({"deployed": False, "valid": True}, output, lambda: "The sync config can be deployed.")
            return
        try:
            slot_name = client.deploy(text)
        except AdminRefused as exc:
            if exc.code != DEPLOYMENTS_DISABLED:
                raise
            hint = "Put the sync config where its sync_config.path says, and restart it; or remove sync_config there."
            raise CommandFailed(f"{exc.message} {exc.details}", hint=hint) from exc
        say(f"Deployed as {slot_name}.")
        active = wait_until_replicating(client, deploy_timeout) if deploy_timeout > 0 else False
        if deploy_timeout > 0 and not active:
            hint = "It is still being copied, or something is in its way: syncline status"
            raise CommandFailed(f"The sync config is not active after {deploy_timeout:g} seconds.", hint=hint)
        value = {"deployed": True, "slot_name": slot_name, "active": active}
        write_result(value, output, lambda: "The sync config is active." if active else "It is being deployed.")


def _check(text: str, client: object) -> None:
    """Tell warnings; raise CommandFailed where the service finds errors."""
    from syncline.cli.admin_client import AdminClient
    from syncline.cli.validation.sync_config_check import check_by_service

    assert isinstance(client, AdminClient)
    result = check_by_service(text, client)
    for warning in result.warnings:
        say(f"• [warning] {warning}")
    if result.errors:
        raise CommandFailed("\n".join(f"• [error] {error}" for error in result.errors), hint="Nothing was deployed.")
