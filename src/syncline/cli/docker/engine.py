"""Running `docker compose` on a project's stack."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

from syncline.cli.docker.configuring import project_name
from syncline.cli.exit_codes import CommandFailed
from syncline.cli.project import Project

__all__ = ["compose"]

PROBE_TIMEOUT_S = 30  # seconds for the engine to say that it is there
_INSTALL = (
    "Install one (https://docs.docker.com/engine/install/), or run the service without: syncline start -c service.yaml"
)


def compose(project: Project, arguments: Sequence[str], *, name: str | None = None) -> None:
    """Run `docker compose` with these arguments; its output is the user's. Raises CommandFailed where it cannot run, or fails."""
    file = project.docker_folder / "docker-compose.yaml"
    if not file.exists():
        raise CommandFailed(f"There is no {file}.", hint="Make it with: syncline docker configure")
    program = shutil.which("docker")
    if program is None:
        raise CommandFailed("No container engine runs here: the program docker is not installed.", hint=_INSTALL)
    try:
        probe = subprocess.run([program, "info"], capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        raise CommandFailed("The container engine does not answer: `docker info` takes too long.") from exc
    if probe.returncode != 0:
        raise CommandFailed("No container engine runs here: `docker info` fails.", hint="Start it, and try again.")
    command = [program, "compose", "--file", str(file), "--project-name", name or project_name(project), *arguments]
    done = subprocess.run(command, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"docker compose {arguments[0]} failed with {done.returncode}.")
