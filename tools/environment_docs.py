"""docs/reference/environment.md: every environment variable that the package reads, and the scan that finds those.

What a variable is for stands in `VARIABLES`; which there are, the source code says (`variables_read`). A test holds the two together, so
that no variable can be read that nobody is told of.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["VARIABLES", "environment_page", "variables_read"]

SOURCE = Path(__file__).parents[1] / "src/syncline"
_OURS = re.compile(r"(?:(?:SYNCLINE|POWERSYNC|PS)_[A-Z0-9_]*[A-Z0-9]|BACKEND_URL|API_URL)")
_WORTH_PARSING = re.compile(rf"""environ|envvar|["']{_OURS.pattern}["']""")
_NAME = re.compile(r"[A-Z][A-Z0-9_]+")

VARIABLES: dict[str, dict[str, str]] = {
    "The sync service": {
        "POWERSYNC_CONFIG_PATH": "The configuration file, where `-c` names none.",
        "POWERSYNC_CONFIG_B64": "The configuration itself, as base64; goes before `POWERSYNC_CONFIG_PATH`.",
        "POWERSYNC_SYNC_CONFIG_B64": "The sync config itself, as base64, where `-sync64` gives none.",
        "POWERSYNC_SYNC_RULES_B64": "The same, under its older name.",
        "SYNCLINE_HOST": "The address to listen on; overrides `host`. Default 127.0.0.1; the container sets 0.0.0.0.",
        "SYNCLINE_WORKERS": "API worker processes, as `--workers`; 0 is one process for everything.",
        "SYNCLINE_HANG_TIMEOUT_S": "Seconds without a sign of life after which a process of the service is killed and started "
        "again; `inf` never does.",
        "PS_RUNNER_TYPE": "What the process does, as `-r`: `unified`, `api` or `sync`.",
        "PS_LOG_LEVEL": "Level of the log; overrides `system.logging.level`.",
        "PS_LOG_FORMAT": "`text` or `json`; overrides `system.logging.format`.",
        "NODE_ENV": "With the value `production` the log is JSON unless something says otherwise, as in the reference service.",
        "XDG_DATA_HOME": "The folder above SQLite storage, where `storage` names no path. Also that of the client's files.",
        "SSL_CERT_FILE": "Certificates of the authorities that TLS to databases trusts, where `cacert` names none.",
    },
    "The command line": {
        "PS_ADMIN_TOKEN": "A token of the service's `api.tokens`, for commands that ask the service.",
        "API_URL": "Address of the service, where neither `--api-url` nor `cli.yaml` has one.",
        "SYNCLINE_TOKEN": "A user's token for `syncline doctor`, as `--token`; safer than on the command line.",
        "SYNCLINE_BACKEND_URL": "Address of the app's backend for `syncline dead-letters`, as `--backend-url`.",
        "SYNCLINE_BACKEND_TOKEN": "A token of a user of the backend for `syncline dead-letters`, as `--token`.",
        "XDG_CONFIG_HOME": "The folder above what `syncline login` stores.",
        "SYNCLINE_NPM_CACHE": "The folder of what `syncline demo` fetches for its web page.",
        "XDG_CACHE_HOME": "The folder above it, where `SYNCLINE_NPM_CACHE` names none.",
    },
    "The Python client": {
        "POWERSYNC_URL": "Address of the sync service, for `Settings.from_env`, `get_connector` and `StaticConnector.from_env`.",
        "POWERSYNC_TOKEN": "A token for it.",
        "BACKEND_URL": "Address of the app's backend.",
    },
    "Development and tests": {
        "SYNCLINE_POSTGRES_BIN": "A folder with `initdb` and `postgres`, for the embedded Postgres.",
        "DATABASE_URL": "A Postgres for the fixtures of `syncline.testing`, instead of the embedded one.",
        "SYNCLINE_FAILPOINT": "`name:count`: the process ends at a named place. For tests of crashes only.",
    },
    "Of the system": {
        "HOME": "The user's folder, above the defaults of the `XDG_…` variables.",
        "APPDATA": "On Windows, instead of `XDG_CONFIG_HOME`.",
        "LOCALAPPDATA": "On Windows, instead of `XDG_DATA_HOME`.",
        "PATH": "Where programs are looked for: Postgres, Node.",
        "DISPLAY": "Whether there is a screen on which `syncline demo` may open its page.",
        "WAYLAND_DISPLAY": "The same.",
    },
}
"""Who reads them -> name -> what it does."""

NO_VARIABLES: frozenset[str] = frozenset({"SYNCLINE_CLIENT", "SYNCLINE_FILE_KEY"})
"""Texts of the code that look like names of variables, and are names of other things."""


def environment_page() -> str:
    """The page: a table for each part."""
    lines = [
        "# Environment variables\n",
        "All that the package reads. In `service.yaml`, `!env PS_NAME` puts in any other variable whose name begins with `PS_`: its",
        "names are yours ([configuration](configuration.md)); those of the compose file are in [deploy](../howto/deploy.md#compose).\n",
    ]
    for part, variables in VARIABLES.items():
        lines += [f"## {part}\n", "| Variable | |", "|---|---|"]
        lines += [f"| `{name}` | {meaning} |" for name, meaning in variables.items()]
        lines.append("")
    return "\n".join(lines)


def variables_read(folder: Path = SOURCE) -> dict[str, list[str]]:
    """Names of environment variables in the code below `folder`, each with the places that use it.

    A variable is what an `envvar=` names, each text that begins like one of ours, and in modules that speak of an environment each name
    in capitals that is looked up in something.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text("utf-8")
        if not _WORTH_PARSING.search(text):
            continue
        for name, line in _names(ast.parse(text), speaks_of_environment="environ" in text):
            if name not in NO_VARIABLES:
                found.setdefault(name, []).append(f"{path.relative_to(folder)}:{line}")
    return found


def _names(tree: ast.AST, *, speaks_of_environment: bool) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="envvar", value=ast.Constant(value=str(name))):
                yield name, node.value.lineno
            case ast.Constant(value=str(name)) if _OURS.fullmatch(name):
                yield name, node.lineno
            case (
                ast.Call(func=ast.Attribute(attr="get" | "pop" | "getenv"), args=[ast.Constant(value=str(name)), *_])
                | ast.Subscript(slice=ast.Constant(value=str(name)), ctx=ast.Load())
            ) if speaks_of_environment and _NAME.fullmatch(name):
                yield name, node.lineno
            case _:
                pass
