"""How values of devices become values of Postgres, as a table for people: for the docs and the command line. PURE.

The rules themselves are in `persisters/postgres/values.py` and `times.py`; a test asks the database whether each example here is true.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["POSTGRES_TYPES", "TypeRow", "format_type_table"]


@dataclass(frozen=True, slots=True)
class TypeRow:
    """One line. `example` is what a device sends for a column of the type `example_type`, and `stored` what Postgres then shows for it.

    `refused` is a value for the same column that gets INVALID_DATA; None where every text is taken.
    """

    types: str
    arrives: str
    written: str
    example_type: str
    example: object
    stored: str
    refused: object = None


POSTGRES_TYPES = (
    TypeRow("boolean", "0, 1, true, false, t, f", "the boolean", "boolean", 1, "true", 2),
    TypeRow(
        "smallint, integer, bigint",
        "number or text; 4.0 is 4",
        "the integer, exactly",
        "bigint",
        "9007199254740993",
        "9007199254740993",
        1.5,
    ),
    TypeRow(
        "numeric, real, double precision",
        "number or text",
        "the number, rounded to what the column holds",
        "numeric(6,2)",
        "1.10",
        "1.10",
        "many",
    ),
    TypeRow(
        "text, varchar, char", "text; numbers and JSON as their text", "the text", "varchar(3)", "abc", "abc", "abcd"
    ),
    TypeRow(
        "timestamptz",
        "ISO text (without a zone: UTC); seconds since 1970, from 10,000,000,000 on milliseconds",
        "the instant",
        "timestamptz",
        1_700_000_000_500,
        "2023-11-14 22:13:20.5+00",
        "1/2/2026",
    ),
    TypeRow(
        "timestamp",
        "as for timestamptz",
        "the instant in UTC",
        "timestamp",
        "2023-11-15T00:13:20+02:00",
        "2023-11-14 22:13:20",
        "now",
    ),
    TypeRow(
        "date", "ISO text; of a timestamp its day", "the day", "date", "2026-01-02T03:04:05Z", "2026-01-02", 20260102
    ),
    TypeRow("time, timetz", "ISO text (timetz without a zone: UTC)", "the time", "time", "22:13", "22:13:00", "10 pm"),
    TypeRow("interval", "text with units, ISO 8601", "the interval", "interval", "P1DT2H", "1 day 02:00:00", 5),
    TypeRow(
        "uuid",
        "text",
        "the uuid",
        "uuid",
        "6C1B3C9E-0000-4000-8000-000000000001",
        "6c1b3c9e-0000-4000-8000-000000000001",
        "1",
    ),
    TypeRow(
        "json, jsonb", "JSON as text, or as it is", "the document, not its text", "jsonb", '{"a": 1}', '{"a": 1}', "{"
    ),
    TypeRow(
        "arrays",
        "a JSON array, as text or as it is, nested too; Postgres' literal `{…}`",
        "the array, each element by its own type",
        "boolean[]",
        "[1, 0, null]",
        "{t,f,NULL}",
        "1, 0",
    ),
    TypeRow(
        "composite types",
        "a JSON object, as text or as it is; Postgres' literal `(…)`",
        "the row, each field by its own type; fields left out are NULL",
        "syncline_example",
        '{"a": 1, "b": "x"}',
        "(1,x)",
        '{"c": 1}',
    ),
    TypeRow(
        "ranges, multiranges",
        "JSON with lower, upper, lower_exclusive, upper_exclusive, or an array of it; Postgres' literal",
        "the range",
        "int4range",
        '{"lower": 1, "upper": 5, "upper_exclusive": 1}',
        "[1,5)",
        '{"from": 1}',
    ),
    TypeRow(
        "bytea",
        r"base64; hexadecimal behind `\x`, or where the policy's formats say `hex`",
        "the bytes",
        "bytea",
        "AP8=",
        r"\x00ff",
        "not base64!",
    ),
    TypeRow("enums", "text", "the value", "syncline_mood", "fine", "fine", "angry"),
    TypeRow("domains", "as the type below", "as the type below; its checks hold", "syncline_short", "ab", "ab"),
    TypeRow("other types", "text", "what Postgres reads in it", "inet", "10.0.0.1", "10.0.0.1/32", "nowhere"),
)
"""Generated columns and GENERATED ALWAYS AS IDENTITY get their values from the database, whatever is sent. NULL is NULL everywhere."""

_HEADINGS = ("Column", "Arrives as", "Written as", "For example", "Stored", "Refused")


def format_type_table() -> str:
    """The table in markdown."""
    lines = [_HEADINGS, tuple("---" for _ in _HEADINGS)]
    for row in POSTGRES_TYPES:
        refused = "" if row.refused is None else _code(row.refused)
        lines.append((row.types, row.arrives, row.written, _code(row.example), _code(row.stored), refused))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _code(value: object) -> str:
    return f"`{value}`"
