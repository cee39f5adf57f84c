"""JSON in TEXT columns: reading, writing, and changing a part of it in SQL."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import msgspec

from syncline.client.local.sql_text import quote_identifier
from syncline.client.statements import ThreadTransaction
from syncline.errors import ClientError

__all__ = ["merge_json", "parse_json", "set_json", "to_json"]

T = TypeVar("T")


def to_json(value: Any) -> str:
    """A value as JSON text: what JSON has, and dataclasses, structs, dates, UUIDs and decimals. Raises ClientError for others."""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError) as exc:
        raise ClientError(
            f"A value of type {type(value).__name__} cannot be written as JSON.",
            hint="JSON has text, numbers, booleans, null, lists, and dictionaries with text keys.",
        ) from exc


@overload
def parse_json(text: str | None) -> Any: ...
@overload
def parse_json(text: str | None, value_type: type[T]) -> T | None: ...
def parse_json(text: str | None, value_type: Any = Any) -> Any:
    """The value of JSON text, as `value_type` where given; None for NULL. Raises ClientError without the value in its message."""
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=value_type)
    except (msgspec.DecodeError, UnicodeEncodeError):
        name = getattr(value_type, "__name__", str(value_type))
        raise ClientError(
            f"The text of a column is not JSON for {name}.", hint="Look at it with SELECT json_valid(column)."
        ) from None


def set_json(transaction: ThreadTransaction, table: str, row_id: str, column: str, path: str, value: Any) -> bool:
    """Set one place inside a JSON column (`"$.tags[#]"` appends), and leave the rest; says whether the row exists.

    >>> await db.run(lambda tx: set_json(tx, "todos", todo_id, "extra", "$.colour", "red"))

    Raises ClientError, and apsw.Error for a path that is none.
    """
    return _change(
        transaction, table, row_id, column, "json_set(ifnull({0}, '{{}}'), ?, json(?))", [path, to_json(value)]
    )


def merge_json(transaction: ThreadTransaction, table: str, row_id: str, column: str, changes: dict[str, Any]) -> bool:
    """Merge an object into a JSON column (RFC 7396: None removes a key); says whether the row exists."""
    return _change(transaction, table, row_id, column, "json_patch(ifnull({0}, '{{}}'), ?)", [to_json(changes)])


def _change(
    transaction: ThreadTransaction, table: str, row_id: str, column: str, expression: str, parameters: list[Any]
) -> bool:
    found = transaction.get_optional(f"SELECT 1 FROM {quote_identifier(table)} WHERE id = ?", [row_id])  # noqa: S608 - quoted
    if found is None:
        return False
    changed = expression.format(quote_identifier(column))
    transaction.execute(
        f"UPDATE {quote_identifier(table)} SET {quote_identifier(column)} = {changed} WHERE id = ?",  # noqa: S608 - quoted
        [*parameters, row_id],
    )
    return True
