"""`syncline configure ide`: let an editor know the tag `!env` and the keys of a project's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import as_json
from syncline.cli.project import CLI_FILE, DIRECTORY, SERVICE_FILE, SYNC_CONFIG_FILE

__all__ = ["configure_ide"]

SETTINGS = Path(".vscode/settings.json")
SCHEMAS = Path(".vscode/syncline")
TAG = "!env scalar"


def configure_ide(directory: str = DIRECTORY) -> None:
    """Write .vscode/settings.json, and JSON Schemas of the project's files beside it.

    Other settings that are there are kept. Editors need an extension for YAML, such as Red Hat's.
    """
    with failures_told(), extra_needed("service"):
        from syncline.cli.json_schemas import cli_schema, schema_text, service_config_schema, sync_config_schema

        settings = _read(SETTINGS)
        schemas = {
            CLI_FILE: cli_schema(),
            SERVICE_FILE: service_config_schema(),
            SYNC_CONFIG_FILE: sync_config_schema(),
        }
        tags = settings.setdefault("yaml.customTags", [])
        assigned = settings.setdefault("yaml.schemas", {})
        if not isinstance(tags, list) or not isinstance(assigned, dict):
            raise CommandFailed(f"{SETTINGS} has yaml.customTags or yaml.schemas of another kind: nothing was written.")
        if TAG not in tags:
            cast("list[Any]", tags).append(TAG)
        try:
            SCHEMAS.mkdir(parents=True, exist_ok=True)
            for name, schema in schemas.items():
                path = SCHEMAS / f"{Path(name).stem}.schema.json"
                path.write_text(schema_text(schema), "utf-8")
                assigned[f"./{path.as_posix()}"] = f"{Path(directory).as_posix()}/{name}"
            SETTINGS.write_text(as_json(settings) + "\n", "utf-8")
        except OSError as exc:
            raise CommandFailed(f"{exc.filename} cannot be written: {exc.strerror}") from exc
        typer.echo(f"Updated {SETTINGS}. The schemas are in {SCHEMAS}.")


def _read(path: Path) -> dict[str, Any]:
    """The settings that are there. Raises CommandFailed where they cannot be kept."""
    try:
        found: object = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        hint = f'It may hold comments. Add by hand:\n  "yaml.customTags": ["{TAG}"]'
        raise CommandFailed(f"{path} is not plain JSON, and was left as it is.", hint=hint) from exc
    if not isinstance(found, dict):
        raise CommandFailed(f"{path} is no JSON object, and was left as it is.")
    return cast("dict[str, Any]", found)
