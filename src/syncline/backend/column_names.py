"""Devices and databases that write names differently: `createdAt` here, `created_at` there. PURE.

One way only, from the device's name to the database's: what a device sends is brought to the form that the table's columns have, and a name
that has it already stays. Two names that become one are refused, whatever their values: nobody knows which was meant.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.backend.persisters.base import WriteRefused
from syncline.errors import ConfigError

__all__ = ["ColumnNames", "camel_case", "check_column_names", "snake_case", "with_column_names"]

ColumnNames = Literal["snake_case", "camelCase"]

_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_UNDERSCORE = re.compile(r"(?<=[A-Za-z0-9])_+([A-Za-z0-9])")


def snake_case(name: str) -> str:
    """`createdAt` and `created_at` become `created_at`, `userID` becomes `user_id`. Only ASCII letters have a case here."""
    if not any("A" <= character <= "Z" for character in name):
        return name
    return "".join(
        character.lower() if character.isascii() else character for character in _WORD_ENDS.sub("_", name)
    ).replace("__", "_")


def camel_case(name: str) -> str:
    """`created_at` and `createdAt` become `createdAt`; underscores at the ends stay."""
    return _UNDERSCORE.sub(lambda match: match[1].upper(), name)


_FORMS: dict[str, Callable[[str], str]] = {"snake_case": snake_case, "camelCase": camel_case}


def with_column_names(
    row: Mapping[str, Any], names: ColumnNames | None, *, table: str, operation_index: int
) -> dict[str, Any]:
    """The row under the database's names. Raises WriteRefused (SCHEMA_MISMATCH) for two names of one column."""
    if names is None:
        return dict(row)
    form = _FORMS[names]
    renamed: dict[str, Any] = {}
    for name, value in row.items():
        column = form(name)
        if column in renamed:
            message = f"Two names of a row of {table} mean its column {column[:NAME_CHARACTERS_SHOWN_MAX]!r}."
            raise WriteRefused("SCHEMA_MISMATCH", message, operation_index=operation_index)
        renamed[column] = value
    return renamed


def check_column_names(names: ColumnNames | None, columns: Iterable[str]) -> None:
    """Raise ConfigError for a form that there is not, and for columns that no device's name leads to."""
    if names is None:
        return
    if names not in _FORMS:
        raise ConfigError(f"column_names={names!r} is no form of names.", hint='"snake_case", "camelCase", or None')
    unreached = [column for column in columns if _FORMS[names](column) != column]
    if unreached:
        raise ConfigError(
            f"The column {unreached[0]!r} is not written in {names}: no device could write it.",
            hint="Leave column_names out, and use the database's names on the device.",
        )
