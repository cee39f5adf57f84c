"""Writing a stack into a project: the folder `docker`, the sections of service.yaml, and the link in cli.yaml."""

from __future__ import annotations

import base64
import os
import re
import secrets
from pathlib import Path
from typing import cast

from syncline.cli.commands.link import TOKEN_REFERENCE, write_link
from syncline.cli.docker.stack_files import StackChoice, service_sections, stack_files
from syncline.cli.docker.yaml_sections import with_section
from syncline.cli.exit_codes import CommandFailed
from syncline.cli.project import SELF_HOSTED, Project, read_yaml

__all__ = ["configure_stack", "project_name"]

SECRET_MODE = 0o600
SECRET_BYTES = 24  # of passwords and tokens; URL-safe as text
KEY_BYTES = 32  # of the key for HS256
API_URL = "http://localhost:8080"


def project_name(project: Project) -> str:
    """How compose names the stack: as cli.yaml says, else after the folder that the project is in."""
    named = _entry(_entry(project.link.get("plugins"), "docker"), "project_name")
    if isinstance(named, str) and named:
        return named
    folder = project.directory.resolve().parent.name.lower()
    return "powersync_" + (re.sub(r"[^a-z0-9_-]", "", folder) or "project")


def _with_token(text: str, document: object) -> str:
    """service.yaml with the stack's token. Other settings of `api` are the user's, so a section that is there is not replaced."""
    if "api" not in (cast("dict[str, object]", document) if isinstance(document, dict) else {}):
        return with_section(text, "api", f"api:\n  tokens:\n    - {TOKEN_REFERENCE}\n")
    tokens = _entry(_entry(cast("dict[str, object]", document), "api"), "tokens")
    if not isinstance(tokens, list) or TOKEN_REFERENCE not in tokens:
        raise CommandFailed(
            "service.yaml has api.tokens without the stack's.",
            hint=f"Add it there:\napi:\n  tokens:\n    - {TOKEN_REFERENCE}",
        )
    return text


def _entry(value: object, key: str) -> object:
    return cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None


def configure_stack(project: Project, choice: StackChoice) -> list[Path]:
    """Write everything; the paths. Raises CommandFailed where there is a stack already, or the choice cannot work."""
    if choice.image == "official" and choice.storage == "none":
        raise CommandFailed("The official service has no SQLite storage.", hint="--storage postgres, or external")
    if project.docker_folder.exists():
        raise CommandFailed(f"Directory {project.docker_folder} already exists.", hint="Remove it to re-configure.")
    if not project.service_path.exists():
        raise CommandFailed(f"There is no {project.service_path}.", hint="Make one with: syncline init")
    made = {
        "database": secrets.token_urlsafe(SECRET_BYTES),
        "storage": secrets.token_urlsafe(SECRET_BYTES),
        "token": secrets.token_urlsafe(SECRET_BYTES),
        "key": base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).rstrip(b"=").decode(),
    }
    text = _with_token(project.service_path.read_text("utf-8"), read_yaml(project.service_path))
    for key, section in service_sections(choice).items():
        text = with_section(text, key, section)
    name = project_name(project)
    written: list[Path] = []
    try:
        for relative, content in stack_files(choice, made).items():
            path = project.docker_folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            mode = SECRET_MODE if path.name == ".env" else 0o644
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
                file.write(content)
            written.append(path)
        project.service_path.write_text(text, "utf-8")
    except OSError as exc:
        raise CommandFailed(f"{exc.filename} cannot be written: {exc.strerror}") from exc
    link = {"type": SELF_HOSTED, "api_url": API_URL, "api_key": TOKEN_REFERENCE}
    write_link(project.cli_path, {**link, "plugins": {"docker": {"project_name": name}}})
    return [*written, project.service_path, project.cli_path]
