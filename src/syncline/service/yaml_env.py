"""YAML or JSON with the `!env` tag: `!env PS_NAME`, with `::number`, `::boolean` or `::string` to say what the variable holds.

Only a whole value is replaced, never a part of a text (service config reference, 1).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from syncline.errors import ConfigError

__all__ = ["ENV_PREFIX", "load_document"]

ENV_PREFIX = "PS_"
"""Only variables that begin so may be substituted: a configuration cannot read what was not meant for it."""

_BOOLEANS = {"true": True, "false": False}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load_document(text: str, environment: Mapping[str, str], *, name: str) -> Any:
    """Parse a configuration. Raises ConfigError that says where in `name` it is wrong, and what to write.

    A name that ends in .json is JSON; everything else is YAML, or JSON where it is no YAML. All variables that are not set, or may not
    be used, are told at once.
    """
    if name.endswith(".json"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as exc:
            raise ConfigError(f"{name} is not valid JSON: line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    try:
        return _load_yaml(text, environment, name)
    except yaml.MarkedYAMLError as exc:
        try:
            return json.loads(text)  # JSON may be indented with tabs, YAML may not
        except json.JSONDecodeError:
            mark = exc.problem_mark
            place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
            raise ConfigError(f"{name} is not valid YAML: {place}: {exc.problem}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{name} is not valid YAML: {exc}") from exc


def _load_yaml(text: str, environment: Mapping[str, str], name: str) -> Any:
    problems: list[ConfigError] = []

    class Loader(yaml.SafeLoader):
        """A loader of its own, so that the tag knows this call's environment."""

    def substitute(_loader: yaml.SafeLoader, node: yaml.Node) -> Any:
        try:
            return _substitute(node, environment, place=f"{name}, line {node.start_mark.line + 1}")
        except ConfigError as exc:
            problems.append(exc)
            return None

    Loader.add_constructor("!env", substitute)
    document = yaml.load(text, Loader)  # noqa: S506 - a subclass of SafeLoader
    if len(problems) > 1:
        texts = "\n".join(str(problem) for problem in problems)
        raise ConfigError(f"{name} asks for {len(problems)} variables that cannot be used:\n{texts}")
    if problems:
        raise problems[0]
    return document


def _substitute(node: yaml.Node, environment: Mapping[str, str], *, place: str) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{place}: !env stands before a list or a map.", hint="Write it before a name: !env PS_NAME")
    variable, _, kind = str(node.value).partition("::")
    variable = variable.strip()
    if not _NAME.fullmatch(variable):
        raise ConfigError(
            f"{place}: !env {variable!r} does not name a variable.",
            hint="Write `!env PS_NAME` as the whole value; parts of a text are not replaced.",
        )
    if not variable.startswith(ENV_PREFIX):
        raise ConfigError(
            f"{place}: !env {variable} is not allowed.",
            hint=f"Only variables whose names begin with {ENV_PREFIX} are substituted: rename it to {ENV_PREFIX}{variable}.",
        )
    value = environment.get(variable)
    if value is None:
        raise ConfigError(f"{place}: the environment variable {variable} is not set.", hint=f"export {variable}=…")
    return _cast(value, kind.strip(), variable, place)


def _cast(value: str, kind: str, variable: str, place: str) -> Any:
    """The variable's value as what it is said to hold. The value itself is never told: it may be a secret."""
    if kind in ("", "string"):
        return value
    if kind == "boolean" and value.lower() in _BOOLEANS:
        return _BOOLEANS[value.lower()]
    if kind == "number" and _NUMBER.fullmatch(value.strip()):
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if kind in ("boolean", "number"):
        raise ConfigError(f"{place}: the environment variable {variable} does not hold a {kind}.")
    raise ConfigError(f"{place}: !env …::{kind} is not known.", hint="Use ::number, ::boolean or ::string.")
