"""YAML with the `!env` tag: `!env PS_NAME`, with `::number`, `::boolean` or `::string` to say what the variable holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from syncline.errors import ConfigError

__all__ = ["load_yaml"]

ENV_PREFIX = "PS_"
"""Only variables that begin so may be substituted: a configuration cannot read what was not meant for it."""

_BOOLEANS = {"true": True, "false": False}


def load_yaml(text: str, environment: Mapping[str, str], *, name: str) -> Any:
    """Parse YAML or JSON with `!env`. Raises ConfigError that says where in `name` it is wrong, and what to write."""

    class Loader(yaml.SafeLoader):
        """A loader of its own, so that the tag knows this call's environment."""

    def substitute(_loader: yaml.SafeLoader, node: yaml.Node) -> Any:
        return _substitute(str(node.value), environment, place=f"{name}, line {node.start_mark.line + 1}")

    Loader.add_constructor("!env", substitute)
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise ConfigError(f"{name} is not valid YAML: {place}: {exc.problem}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{name} is not valid YAML: {exc}") from exc


def _substitute(expression: str, environment: Mapping[str, str], *, place: str) -> Any:
    variable, _, kind = expression.partition("::")
    variable = variable.strip()
    if not variable.startswith(ENV_PREFIX):
        raise ConfigError(
            f"{place}: !env {variable} is not allowed.",
            hint=f"Only variables whose names begin with {ENV_PREFIX} are substituted: rename it to {ENV_PREFIX}{variable}.",
        )
    value = environment.get(variable)
    if value is None:
        raise ConfigError(f"{place}: the environment variable {variable} is not set.", hint=f"export {variable}=…")
    if kind in ("", "string"):
        return value
    if kind == "boolean" and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    if kind == "number":
        try:
            return int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            pass
    if kind in ("boolean", "number"):
        raise ConfigError(f"{place}: the environment variable {variable} does not hold a {kind}.")
    raise ConfigError(f"{place}: !env …::{kind} is not known.", hint="Use ::number, ::boolean or ::string.")
