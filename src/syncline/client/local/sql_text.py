"""Names, literals and JSON expressions as SQL text, for the statements of triggers and views. Pure text, no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

__all__ = [
    "chunked",
    "json_literal",
    "object_text",
    "pair",
    "quote_identifier",
    "quote_text",
    "row_json",
    "same_value",
]

_CHUNK = 50  # terms: SQLite bounds the depth of an expression to 1000 and arguments of a function to 127 before 3.48


def quote_identifier(name: str) -> str:
    """A name as SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A string as SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def json_literal(text: str) -> str:
    """A JSON string for the inside of an SQL literal."""
    return json.dumps(text, ensure_ascii=False).replace("'", "''")


def row_json(row: str, columns: Sequence[str]) -> str:
    """JSON of all columns of NEW or OLD with their nulls, in the order given."""
    if len(columns) > _CHUNK:
        return object_text(pair(row, column) for column in columns)
    return f"json_object({', '.join(f'{quote_text(column)}, {_value(row, column)}' for column in columns)})"


def object_text(pairs: Iterable[str]) -> str:
    """JSON object text of pairs that each evaluate to `,"key":value` or ''."""
    joined = chunked(pairs, "||")
    return f"'{{'||substr({joined}, 2)||'}}'" if joined else "'{}'"


def chunked(terms: Iterable[str], operator: str) -> str:
    """Join terms in groups, so that the expression stays shallow with any number of columns."""
    parts = list(terms)
    while len(parts) > _CHUNK:
        parts = [f"({operator.join(parts[i : i + _CHUNK])})" for i in range(0, len(parts), _CHUNK)]
    return f"({operator.join(parts)})" if parts else ""


def pair(row: str, column: str) -> str:
    """`,"key":value` of one column of NEW or OLD."""
    return f"{quote_text(',' + json.dumps(column, ensure_ascii=False) + ':')}||json_quote({_value(row, column)})"


def same_value(column: str) -> str:
    """Whether an update leaves the column as it is. typeof, because 1 IS 1.0 for SQL and two values in JSON."""
    name = quote_identifier(column)
    return f"NEW.{name} IS OLD.{name} AND typeof(NEW.{name}) = typeof(OLD.{name})"


def _value(row: str, column: str) -> str:
    # Concatenation takes the JSON subtype away: the result of json_array() is stored as text, not as nested JSON.
    name = f"{row}.{quote_identifier(column)}"
    return f"iif(typeof({name}) = 'text', {name}||'', {name})"
