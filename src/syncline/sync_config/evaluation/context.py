"""What an expression is evaluated against: the columns of a table, or the data of a connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.json_values import from_json, json_text, real_numbers
from syncline.sync_config.evaluation.values import as_text
from syncline.sync_config.plan import TablePattern

__all__ = ["ELEMENT_COLUMNS", "RequestData", "TableContext", "token_parameters"]

ELEMENT_COLUMNS = ("key", "value")
"""Columns of `json_each`, in the order of `json_values.elements`."""


@dataclass(frozen=True)
class TableContext:
    """One source table: where it is, and its columns in value order."""

    schema: str
    name: str
    columns: Sequence[str]
    pattern: TablePattern

    def position(self, column: str) -> int | None:
        """The index of a column's value in a row; None where the table has no such column."""
        return self.columns.index(column) if column in self.columns else None

    def meta(self, function: str) -> str:
        """Value of `schema()`, `table_name()` or `table_suffix()`."""
        if function == "schema":
            return self.schema
        if function == "table_name":
            return self.name
        return self.name[len(self.pattern.name) - 1 :] if self.pattern.name.endswith("%") else ""


@dataclass(frozen=True)
class RequestData:
    """Data of a connection by scope: `auth`, `connection`, `subscription`, and for sync rules `token_parameters`."""

    scopes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    def parameter(self, scope: str, key: SyncValue) -> SyncValue:
        """`scope.parameter(key)`: a plain key, a path where it begins with `$.`, and everything for `$`."""
        if key is None:
            return None
        text = as_text(key) or ""
        found: Any = self.scopes.get(scope, {})
        for part in text.split(".")[1:] if text == "$" or text.startswith("$.") else [text]:
            found = _member(found, part)
        return from_json(real_numbers(found))

    def parameters(self, scope: str) -> SyncValue:
        """`scope.parameters()`: everything as JSON text."""
        return json_text(real_numbers(dict(self.scopes.get(scope, {}))))


def token_parameters(token: Mapping[str, Any]) -> Mapping[str, Any]:
    """What sync rules read as `token_parameters.x`: the claim `parameters`, and `user_id` as the token's `sub` (reference, 8.1)."""
    claim: Any = token.get("parameters")
    return {**(claim if isinstance(claim, Mapping) else {}), "user_id": token.get("sub")}  # pyright: ignore[reportUnknownVariableType]  # of any JSON


def _member(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # of any JSON
    if isinstance(value, list) and key.isascii() and key.isdecimal() and int(key) < len(value):  # pyright: ignore[reportUnknownArgumentType]  # of any JSON
        return value[int(key)]  # pyright: ignore[reportUnknownVariableType]  # of any JSON
    return None
