"""`syncline status`, also `fetch status`: how the connection and the sync configs of the linked service stand."""

from __future__ import annotations

from typing import Any

import typer

from syncline.cli.exit_codes import EXIT_FAILED, EXIT_OK, failures_told
from syncline.cli.output import OUTPUT, Output, say, write_result
from syncline.cli.project import API_URL, DIRECTORY, admin_address

__all__ = ["is_replicating", "status", "wait_until_replicating"]

POLL_INTERVAL_S = 1.0  # seconds between two questions while waiting


def status(
    directory: str = DIRECTORY,
    api_url: str | None = API_URL,
    content: bool = typer.Option(False, "--content", help="With the texts of the sync configs."),
    wait: float = typer.Option(0.0, "--wait", help="Seconds to wait until everything is copied and replicated."),
    output: Output = OUTPUT,
) -> None:
    """Show the source's connection, and the active and the deploying sync config.

    With --wait it ends with 1 where replication is not up to date in time.
    """
    from syncline.cli.admin_client import AdminClient
    from syncline.cli.status_text import status_text

    with failures_told(unreachable=EXIT_FAILED):
        client = AdminClient(admin_address(directory, api_url))
        done = wait_until_replicating(client, wait) if wait > 0 else True
        answer = client.diagnostics(content=content)
        write_result(answer, output, lambda: status_text(answer))
        if not done:
            say(f"Not everything is replicated after {wait:g} seconds.")
    raise typer.Exit(EXIT_OK if done else EXIT_FAILED)


def is_replicating(answer: dict[str, Any]) -> bool:
    """Whether the source is connected, a config is active with all of its copies, and none is being deployed."""
    connections = answer.get("connections", [])
    active = answer.get("active_sync_rules")
    return (
        bool(connections)
        and all(connection.get("connected") for connection in connections)
        and active is not None
        and all(connection.get("initial_replication_done") for connection in active.get("connections", []))
        and "deploying_sync_rules" not in answer
    )


def wait_until_replicating(client: Any, timeout_s: float) -> bool:
    """Ask `client` until `is_replicating`, at most `timeout_s` seconds; whether it is. Failures of a call are raised."""
    import time  # here, with what waits

    deadline_s = time.monotonic() + timeout_s
    while not is_replicating(client.diagnostics()):
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(POLL_INTERVAL_S, left_s))
    return True
