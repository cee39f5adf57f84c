"""`syncline doctor`: why nothing syncs, and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from syncline.cli.exit_codes import EXIT_FAILED, EXIT_OK, CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import OUTPUT, Output, write_result
from syncline.cli.project import (
    API_URL,
    CLI_FILE,
    DIRECTORY,
    SERVICE_FILE,
    SYNC_CONFIG_FILE,
    URL_VARIABLE,
    admin_address,
    read_link,
)

if TYPE_CHECKING:
    from syncline.cli.doctor.case import Case
    from syncline.cli.project import AdminAddress

__all__ = ["doctor"]

WAIT_S = 5.0  # seconds in which the first line of a stream has to come: a service sends it in some milliseconds


def doctor(
    directory: str = DIRECTORY,
    config_path: Path | None = typer.Option(
        None, "-c", "--config-path", help="The service's configuration. Else the project's service.yaml."
    ),
    api_url: str | None = API_URL,
    endpoint: str | None = typer.Option(
        None, "--endpoint", help="What devices are given, with every proxy on the way. Else the service's own address."
    ),
    token: str = typer.Option(
        "", "--token", envvar="SYNCLINE_TOKEN", show_default=False, help="A user's token, as a device gets it."
    ),
    wait: float = typer.Option(WAIT_S, "--wait", min=0.1, max=60.0, help="Seconds for the first line of a stream."),
    keepalive: bool = typer.Option(False, "--keepalive", help="Watch a silent stream too, for 20 seconds."),
    output: Output = OUTPUT,
) -> None:
    """Walk through every cause of "stuck on Syncing…" and name the first one, with what to do.

    Looks at the configuration, source, storage, service, keys, token and endpoint; what cannot be looked at is skipped, and the reason
    told. Changes nothing. Ends with 1 where something is wrong.
    """
    with failures_told(), extra_needed("service", "backend"):
        from syncline.cli.doctor.case import examine
        from syncline.cli.doctor.checks import CHECKS

        words = token.split()  # people paste it with the "Bearer" of a header
        case = _case(directory, config_path, api_url, endpoint, words[-1] if words else "", wait)
        case.waits_for_keepalive = keepalive
        if not (case.config_path.exists() or case.endpoint or case.token):
            raise CommandFailed(
                f"There is nothing to look at: no {case.config_path} here, and no address of a service.",
                hint="syncline doctor -c service.yaml --token TOKEN    or --endpoint https://… --token TOKEN",
            )
        diagnosis = examine(case, CHECKS)
        write_result(diagnosis.as_value(), output, diagnosis.as_text)
    raise typer.Exit(EXIT_OK if diagnosis.first_failed is None else EXIT_FAILED)


def _case(
    directory: str, config_path: Path | None, api_url: str | None, endpoint: str | None, token: str, wait_s: float
) -> Case:
    from syncline.cli.doctor.case import Case

    path = config_path or Path(directory) / SERVICE_FILE
    if config_path is not None and not path.is_file():
        raise CommandFailed(f"There is no {path}.")
    admin = _admin(directory, api_url)
    url = (api_url or (admin.url if admin else "") or _linked(directory) or _own_address(path)).rstrip("/")
    return Case(
        config_path=path,
        sync_config_path=path.parent / SYNC_CONFIG_FILE,
        environment=os.environ,
        service_url=url,
        endpoint=(endpoint or url).rstrip("/"),
        token=token,
        wait_s=wait_s,
        admin=admin,
    )


def _admin(directory: str, api_url: str | None) -> AdminAddress | None:
    """The admin API of the project; None where nothing names it or a token for it."""
    try:
        return admin_address(directory, api_url)
    except CommandFailed:
        return None


def _linked(directory: str) -> str:
    """The service's address by cli.yaml or the environment, though no token for its admin API is known."""
    link = read_link(Path(directory) / CLI_FILE).get("api_url")
    return link if isinstance(link, str) and link.startswith("http") else os.environ.get(URL_VARIABLE, "")


def _own_address(path: Path) -> str:
    """Where the service of this configuration listens on this machine; empty where that is not known."""
    from syncline.cli.service_file import load_service_file
    from syncline.errors import ConfigError

    if not path.is_file():
        return ""
    try:
        config = load_service_file(path, os.environ).config
    except ConfigError:
        return ""  # the first check says so
    host = config.host if config.host not in ("", "0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - it is compared
    return f"http://[{host}]:{config.port}" if ":" in host else f"http://{host}:{config.port}"
