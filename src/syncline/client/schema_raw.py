"""Raw tables: real SQLite tables of the app that synced rows are written to by statements (client SQLite reference, 7).

The app creates and migrates them; the client only writes what it downloads, and captures local writes where it is asked to. Pure
values, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from syncline.client.schema_names import SchemaInvalid, check_name, check_not_reserved

__all__ = ["REST", "ROW_ID", "RawColumn", "RawStatement", "RawTable", "RestOfRow", "RowId"]


@dataclass(frozen=True, slots=True)
class RowId:
    """Parameter: the id of the row, as text."""


@dataclass(frozen=True, slots=True)
class RawColumn:
    """Parameter: one value of the row's JSON. true and false are 1 and 0; null, arrays, objects and missing keys are NULL.

    Numbers are bound as REAL wherever a double holds them, as the field's clients do: a column with INTEGER affinity makes
    integers of them again, one without a type does not.
    """

    name: str


@dataclass(frozen=True, slots=True)
class RestOfRow:
    """Parameter: a JSON object of every value that no other parameter of the statement names, keys sorted; NULL for none."""


ROW_ID = RowId()
REST = RestOfRow()

RawParameter = RowId | RawColumn | RestOfRow
_FIRST_WORD = re.compile(r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*([a-z]+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class RawStatement:
    """SQL with one parameter for each of its placeholders, in their order. A plain string stands for `RawColumn(string)`.

    >>> RawStatement("INSERT OR REPLACE INTO lists(id, name, extra) VALUES (?, ?, ?)", [ROW_ID, "name", REST])
    """

    sql: str
    parameters: tuple[RawParameter, ...]

    def __init__(self, sql: str, parameters: Iterable[RawParameter | str] = ()) -> None:
        object.__setattr__(self, "sql", sql)
        object.__setattr__(
            self,
            "parameters",
            tuple(RawColumn(entry) if isinstance(entry, str) else entry for entry in parameters),
        )


class RawTable:
    """A table that the app has made itself, for synced rows of the type `name`.

    `table_name` is the table where it differs. Without `put` and `delete` the statements are made from the table's columns (or from
    `synced_columns`, which leaves the others of the table alone). `clear` runs when the database is cleared; without it the rows
    of a cleared database stay. With `capture` local writes to the table are queued for upload; the tracking options are those of
    `Table`, and a metadata column does not exist here.

    Foreign keys have to be DEFERRABLE INITIALLY DEFERRED: rows arrive in no order. Raises SchemaInvalid, with a hint.
    """

    __slots__ = (
        "capture",
        "clear",
        "delete",
        "ignore_empty_updates",
        "insert_only",
        "name",
        "put",
        "synced_columns",
        "table_name",
        "track_previous",
        "track_previous_only_when_changed",
    )

    def __init__(
        self,
        name: str,
        *,
        table_name: str | None = None,
        synced_columns: Sequence[str] | None = None,
        put: RawStatement | None = None,
        delete: RawStatement | None = None,
        clear: str | None = None,
        capture: bool = False,
        insert_only: bool = False,
        track_previous: bool | Sequence[str] = False,
        track_previous_only_when_changed: bool = False,
        ignore_empty_updates: bool = False,
    ) -> None:
        self.name = name
        self.table_name = table_name or name
        self.synced_columns = None if synced_columns is None else tuple(synced_columns)
        self.put = put
        self.delete = delete
        self.clear = clear
        self.capture = capture
        self.insert_only = insert_only
        self.track_previous = track_previous if isinstance(track_previous, bool) else tuple(track_previous)
        self.track_previous_only_when_changed = track_previous_only_when_changed
        self.ignore_empty_updates = ignore_empty_updates
        self._check()

    def _check(self) -> None:
        check_name("Raw table", self.name)
        check_not_reserved("Raw table", self.table_name)
        for column in self.synced_columns or ():
            check_name(f'Column of raw table "{self.name}"', column)
            if column.lower() == "id":
                raise SchemaInvalid(
                    f'Raw table "{self.name}" lists "id" among its synced columns.',
                    hint="Leave it out: the id of a row is always written.",
                )
        for kind, statement in (("put", self.put), ("delete", self.delete)):
            if statement is not None and not _FIRST_WORD.match(statement.sql):
                raise SchemaInvalid(
                    f'The {kind} statement of raw table "{self.name}" is empty.',
                    hint=f"Leave {kind}= out to have it made from the table's columns.",
                )
        if self.delete is not None and any(parameter != ROW_ID for parameter in self.delete.parameters):
            raise SchemaInvalid(
                f'The delete statement of raw table "{self.name}" has a parameter that is not the row id.',
                hint="Nothing but the id of a deleted row is known: use ROW_ID alone.",
            )

    def as_json(self) -> dict[str, Any]:
        """The form in which the field's clients name a raw table (client SQLite reference, 7)."""
        previous = self.track_previous
        found: dict[str, Any] = {
            "name": self.name,
            "table_name": self.table_name,
            "synced_columns": None if self.synced_columns is None else list(self.synced_columns),
            "put": _statement_json(self.put),
            "delete": _statement_json(self.delete),
            "clear": self.clear,
            "insert_only": self.insert_only,
            "include_old": previous if isinstance(previous, bool) else list(previous),
            "include_old_only_when_changed": self.track_previous_only_when_changed,
            "ignore_empty_update": self.ignore_empty_updates,
        }
        return {key: value for key, value in found.items() if value is not None}

    @classmethod
    def from_json(cls, found: dict[str, Any], *, capture: bool = False) -> RawTable:
        """The raw table of `as_json`'s form. Raises SchemaInvalid."""
        old = found.get("include_old", False)
        return cls(
            found.get("name") or found["table_name"],
            table_name=found.get("table_name"),
            synced_columns=found.get("synced_columns"),
            put=_statement(found.get("put")),
            delete=_statement(found.get("delete")),
            clear=found.get("clear"),
            capture=capture,
            insert_only=bool(found.get("insert_only")),
            track_previous=old if isinstance(old, bool) else list(old),
            track_previous_only_when_changed=bool(found.get("include_old_only_when_changed")),
            ignore_empty_updates=bool(found.get("ignore_empty_update")),
        )


def _statement_json(statement: RawStatement | None) -> dict[str, Any] | None:
    if statement is None:
        return None
    return {"sql": statement.sql, "params": [_parameter_json(parameter) for parameter in statement.parameters]}


def _parameter_json(parameter: RawParameter) -> object:
    match parameter:
        case RowId():
            return "Id"
        case RestOfRow():
            return "Rest"
        case RawColumn(name):
            return {"Column": name}


def _statement(found: dict[str, Any] | None) -> RawStatement | None:
    if found is None:
        return None
    return RawStatement(found["sql"], [_parameter(entry) for entry in found.get("params", ())])


def _parameter(found: object) -> RawParameter:
    match found:
        case "Id":
            return ROW_ID
        case "Rest":
            return REST
        case {"Column": str(name)}:
            return RawColumn(name)
        case _:
            raise SchemaInvalid(
                "A raw table's statement has an unknown parameter.", hint='Use "Id", {"Column": "name"} or "Rest".'
            )
