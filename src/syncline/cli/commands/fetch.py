"""`syncline fetch instances` and `fetch config`: linked projects below a folder, and the effective configuration of one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import OUTPUT, Output, as_json, as_yaml, write_result
from syncline.cli.project import CLI_FILE, DIRECTORY, open_project, read_link

__all__ = ["fetch_config", "fetch_instances"]

MASK = "***"


def fetch_instances(
    output: Output = OUTPUT,
    output_file: Path | None = typer.Option(None, "--output-file", help="Write the result there."),
) -> None:
    """List the linked projects in the folders of this one.

    Only these: there is no list of services that somebody runs. Tokens that stand in a cli.yaml are masked.
    """
    with failures_told():
        linked = [_instance(path) for path in sorted(Path.cwd().glob(f"*/{CLI_FILE}"))]
        linked = [instance for instance in linked if instance["config"]]
        value: dict[str, Any] = {"cloudInstances": {}, "linkedInstances": linked}
        if output_file is None:
            write_result(value, output, lambda: _instances_text(linked))
            return
        text = as_yaml(value) if output is Output.YAML else as_json(value) + "\n"
        try:
            output_file.write_text(text, "utf-8")
        except OSError as exc:
            raise CommandFailed(f"{output_file} cannot be written: {exc.strerror}") from exc


def fetch_config(directory: str = DIRECTORY, output: Output = OUTPUT) -> None:
    """Show the configuration of the project's service with all defaults.

    Variables are shown by their names, and secrets are masked. The service itself is not asked: its file is its configuration.
    """
    with failures_told(), extra_needed("service"):
        from syncline.cli.service_file import effective_settings

        project = open_project(directory)
        if not project.service_path.exists():
            raise CommandFailed(f"There is no {project.service_path}.", hint="Make one with: syncline init")
        settings = effective_settings(project.service_path, os.environ)
        write_result(settings, output, lambda: as_yaml(settings))


def _instance(path: Path) -> dict[str, Any]:
    link = read_link(path)
    key = link.get("api_key")
    if isinstance(key, str) and not key.startswith("!env "):
        link = link | {"api_key": MASK}
    return {"config": link, "subDirectory": path.parent.name}


def _instances_text(linked: list[dict[str, Any]]) -> str:
    if not linked:
        return "No project here is linked."
    lines: list[str] = []
    for instance in linked:
        config = instance["config"]
        lines += [
            f"Locally linked in ./{instance['subDirectory']}/",
            f"\tProject type:  {config.get('type', 'unknown')}",
        ]
        lines += [f"\tAPI URL:  {config['api_url']}"] if "api_url" in config else []
        lines.append("")
    return "\n".join(lines)
