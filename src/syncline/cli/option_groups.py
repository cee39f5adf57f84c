"""Options that several commands have together: one class with a field for each, which a command takes as one argument."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, cast, get_type_hints

__all__ = ["spread_options"]


def spread_options(function: Callable[..., None]) -> Callable[..., None]:
    """A command of a function some of whose arguments are dataclasses of options: each field is an option of the command.

    The default of a field is what `typer.Option` gives. Raises ValueError for two options of one name.
    """
    hints = get_type_hints(function)
    groups = {name: cast("type[Any]", hint) for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            parameters.append(_option(parameter.name, parameter.default, hints))
        else:
            known = get_type_hints(group)
            parameters += [_option(field.name, field.default, known) for field in dataclasses.fields(group)]

    @functools.wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
        function(**values)

    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__dict__["__signature__"] = inspect.Signature(parameters)  # what the command line is made of
    return command


def _option(name: str, default: Any, hints: dict[str, Any]) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
