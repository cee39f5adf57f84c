"""Commands that the official CLI has for its cloud: each says what to do here instead, and ends with 1."""

from __future__ import annotations

import typer

from syncline.cli.exit_codes import EXIT_FAILED
from syncline.cli.output import say

__all__ = ["deploy_service_config", "destroy", "init_cloud", "link_cloud", "plugins", "stop"]


def _explain(text: str) -> None:
    say(text)
    raise typer.Exit(EXIT_FAILED)


def init_cloud() -> None:
    """Say how a project is made here."""
    _explain("There is no cloud here. A project for a service of your own is made by:\n\n    syncline init")


def link_cloud() -> None:
    """Say how a project is linked here."""
    _explain(
        "There is no cloud here. A project is linked to a service of your own by:\n\n"
        "    syncline link self-hosted --api-url https://sync.example.com"
    )


def deploy_service_config() -> None:
    """Say how the configuration of a service is changed."""
    _explain(
        "The configuration of a self-hosted service is the file that it is started with: it cannot be deployed.\n"
        "Change service.yaml where the service runs, check it with `syncline validate`, and restart the service."
    )


def destroy() -> None:
    """Say how a service is removed here."""
    _explain(
        "There is no instance in a cloud to destroy. Where your service ran:\n\n"
        "    syncline teardown TEARDOWN -c service.yaml    drops the replication slots and removes bucket storage\n"
        "    syncline docker stop --remove-volumes         removes what `syncline docker` started, with its data"
    )


def stop() -> None:
    """Say how a service is stopped here."""
    _explain(
        "There is no instance in a cloud to stop. Your service ends on SIGTERM:\n\n"
        "    systemctl stop syncline    under systemd\n"
        "    syncline docker stop       where `syncline docker` started it"
    )


def plugins() -> None:
    """Say that all commands are built in."""
    _explain(
        "There are no plugins: the commands of the official ones (docker, config edit) are built in. See: syncline --help"
    )
