"""PURE: calls of mutators, as devices queue them and the backend takes them (write path reference, 2.4).

A call is one row of an insert-only table: its id names the call, `name` the mutator, `args` has the arguments as the text of a JSON object.
So it goes through the one upload queue, in order with all other writes, with every SDK that has insert-only tables.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "ARGUMENTS_CHARACTERS_MAX",
    "ARGUMENTS_COLUMN",
    "MUTATIONS_TABLE",
    "MUTATOR_NAME_CHARACTERS_MAX",
    "NAME_COLUMN",
    "arguments_text",
    "is_pydantic",
]

MUTATIONS_TABLE = "syncline_mutations"
NAME_COLUMN = "name"
ARGUMENTS_COLUMN = "args"
MUTATOR_NAME_CHARACTERS_MAX = 100  # characters of a mutator's name
ARGUMENTS_CHARACTERS_MAX = 1_000_000  # characters of one call's arguments as JSON text


def arguments_text(arguments: Any) -> str:
    """Arguments as the text of a JSON object: a mapping, a dataclass, a msgspec Struct or a Pydantic model; None is no arguments.

    Raises TypeError for what JSON has not, and for what is no object; ValueError for a text above ARGUMENTS_CHARACTERS_MAX.
    """
    if arguments is None:
        return "{}"
    if is_pydantic(type(arguments)):
        arguments = arguments.model_dump(mode="json")
    text = msgspec.json.encode(arguments).decode()
    if not text.startswith("{"):
        raise TypeError("The arguments of a mutator are an object with names.")
    if len(text) > ARGUMENTS_CHARACTERS_MAX:
        raise ValueError(f"The arguments have {len(text)} characters, at most {ARGUMENTS_CHARACTERS_MAX} are possible.")
    return text


def is_pydantic(model: Any) -> bool:
    """Whether a class is a Pydantic model; without importing Pydantic, which many apps do not have."""
    return isinstance(model, type) and {"model_fields", "model_validate", "model_dump"} <= {*dir(model)}
