"""The project's folder `powersync/` and its `cli.yaml`, and where the admin API and its token come from.

What wins (recorded, command line reference, 8): for the address `--api-url`, then `api_url` of cli.yaml, then API_URL; for the token
PS_ADMIN_TOKEN, then `api_key` of cli.yaml, then what `syncline login` stored for the address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import typer

from syncline.cli.exit_codes import CommandFailed

__all__ = [
    "API_URL",
    "CLI_FILE",
    "DIRECTORY",
    "DOCKER_FOLDER",
    "SERVICE_FILE",
    "SYNC_CONFIG_FILE",
    "AdminAddress",
    "Project",
    "admin_address",
    "open_project",
    "read_link",
    "read_yaml",
]

DEFAULT_DIRECTORY = "powersync"
CLI_FILE, SERVICE_FILE, SYNC_CONFIG_FILE, DOCKER_FOLDER = "cli.yaml", "service.yaml", "sync-config.yaml", "docker"
SELF_HOSTED = "self-hosted"
TOKEN_VARIABLE, URL_VARIABLE = "PS_ADMIN_TOKEN", "API_URL"
_ENV_TEXT = re.compile(r"!env\s+(\w+)(?:::string)?\s*")

DIRECTORY: str = typer.Option(DEFAULT_DIRECTORY, "--directory", help="The project's folder.")
API_URL: str | None = typer.Option(
    None, "--api-url", help="Address of the service. Else api_url of cli.yaml, else the variable API_URL."
)


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with the project's files. `link` is the content of cli.yaml, empty where there is none."""

    directory: Path
    link: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def cli_path(self) -> Path:
        """Where it says which service the project belongs to."""
        return self.directory / CLI_FILE

    @property
    def service_path(self) -> Path:
        """The service's configuration."""
        return self.directory / SERVICE_FILE

    @property
    def sync_config_path(self) -> Path:
        """The sync config."""
        return self.directory / SYNC_CONFIG_FILE

    @property
    def docker_folder(self) -> Path:
        """What `docker configure` makes."""
        return self.directory / DOCKER_FOLDER

    def text_of_link(self, key: str) -> str:
        """A text of cli.yaml; empty where it is not there."""
        value = self.link.get(key)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class AdminAddress:
    """Where the admin API is and the token for it, each with where it was found. The token is in no text of this object."""

    url: str
    token: str = field(repr=False)
    url_from: str = ""
    token_from: str = ""
    unset_variable: str = ""  # that the token was to come from: the service will refuse it, and the hint names this


def open_project(directory: str, *, need_self_hosted: bool = True) -> Project:
    """The project in a folder. Raises CommandFailed where there is none, or it is of the vendor's cloud."""
    path = Path(directory)
    if not path.is_dir():
        raise CommandFailed(f'Directory "{directory}" not found.', hint="Make a project with: syncline init")
    project = Project(path, read_link(path / CLI_FILE))
    kind = project.text_of_link("type")
    if need_self_hosted and kind not in ("", SELF_HOSTED):
        raise CommandFailed(
            f"{project.cli_path} has type: {kind}; these commands work on self-hosted projects.",
            hint="Link a service of your own with: syncline link self-hosted --api-url URL",
        )
    return project


def read_link(path: Path) -> dict[str, Any]:
    """The content of a cli.yaml, `!env NAME` as that text; empty where there is no file. Raises CommandFailed."""
    if not path.exists():
        return {}
    found = read_yaml(path)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CommandFailed(f"{path} must be a map.", hint="type: self-hosted\napi_url: http://127.0.0.1:8080")
    return cast("dict[str, Any]", found)


def read_yaml(path: Path) -> Any:
    """A YAML file, values with the tag `!env` as their texts: nothing is looked up. Raises CommandFailed."""
    from syncline.cli.extras import extra_needed

    with extra_needed("service"):
        import yaml  # here, for it is in the extras

    class Loader(yaml.SafeLoader):
        """A loader of its own, so that others do not learn the tag."""

    def tagged(_loader: yaml.SafeLoader, node: yaml.Node) -> str:
        return f"!env {node.value}"

    Loader.add_constructor("!env", tagged)
    try:
        return yaml.load(path.read_text("utf-8"), Loader)  # noqa: S506 - a subclass of SafeLoader
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandFailed(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise CommandFailed(f"{path} is not valid YAML: {place}{getattr(exc, 'problem', None) or exc}") from exc


def admin_address(
    directory: str, api_url: str | None = None, environment: Mapping[str, str] | None = None
) -> AdminAddress:
    """The admin API of a command. Raises CommandFailed where nothing names it.

    A folder is needed only where it has to say something: with `--api-url` and a token in the environment there need be none.
    """
    environment = os.environ if environment is None else environment
    try:
        project = open_project(directory)
    except CommandFailed:
        if Path(directory).is_dir() or not (api_url or environment.get(URL_VARIABLE)):
            raise
        project = Project(Path(directory))
    url, url_from = _first(
        (api_url or "", "--api-url"),
        (_looked_up(project.text_of_link("api_url"), environment)[0], str(project.cli_path)),
        (environment.get(URL_VARIABLE, ""), URL_VARIABLE),
    )
    in_file, unset = _looked_up(project.text_of_link("api_key"), {**_stack_variables(project), **environment})
    token, token_from = _first(
        (environment.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE),
        (in_file, str(project.cli_path)),
        (_stored_token(url, environment), "syncline login"),
    )
    if not url or not token:
        missing = "address of the service" if not url else "token for its admin API"
        raise CommandFailed(
            f"Linking is required before using this command: there is no {missing}.",
            hint=f"syncline link self-hosted --api-url URL    (and set {TOKEN_VARIABLE} to one of the service's api.tokens)",
        )
    if not url.startswith(("http://", "https://")):
        raise CommandFailed(f"{url_from} is no address of a service: {url!r}.", hint="Write http://… or https://…")
    return AdminAddress(url.rstrip("/"), token, url_from, token_from, unset if token == in_file else "")


def _stack_variables(project: Project) -> dict[str, str]:
    """The variables of the stack that `docker configure` wrote: its token need not be exported."""
    try:
        lines = (project.docker_folder / ".env").read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}


def _first(*candidates: tuple[str, str]) -> tuple[str, str]:
    """The first that is not empty, with where it was found."""
    return next(((value, origin) for value, origin in candidates if value), ("", ""))


def _looked_up(value: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """A value of cli.yaml with `!env NAME` replaced, and the name where that is not set: then the text stays as it is."""
    match = _ENV_TEXT.fullmatch(value)
    if match is None:
        return value, ""
    found = environment.get(match[1])
    return (found, "") if found else (value, match[1])


def _stored_token(url: str, environment: Mapping[str, str]) -> str:
    from syncline.cli.logins import stored_token

    return stored_token(url, environment) if url else ""
