"""PURE: rows of COPY's text format (Postgres manual, COPY, "Text Format")."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from syncline.protocol.bucket_names import SyncValue
from syncline.replication.postgres.types import TypeInfo
from syncline.replication.postgres.values import BOOL, INTEGER_TYPES, Converter, as_it_is, make_converter
from syncline.sync_config.value_format import EDITION_3_FORMAT, ValueFormat

__all__ = ["RowParser", "make_row_parser", "parse_row"]

RowParser = Callable[[bytes], tuple[SyncValue, ...]]
"""Takes one line of COPY; returns the values of its row."""

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def make_row_parser(
    column_types: Sequence[int], types: Mapping[int, TypeInfo], value_format: ValueFormat = EDITION_3_FORMAT
) -> RowParser:
    """Generate the parser for rows of these column types (their ids in `pg_type`).

    A line without a backslash has neither NULL nor an escaped character: each field is its value's text, and one expression makes the
    row, about twice as fast as a loop over converters.
    """
    converters = [make_converter(type_id, types, value_format) for type_id in column_types]
    scope: dict[str, Any] = {"parse_row": parse_row, "converters": converters}
    fields = [f"f{index}" for index in range(len(column_types))]
    values = "".join(
        f"{_expression(type_id, converter, field, scope)}, "
        for type_id, converter, field in zip(column_types, converters, fields, strict=True)
    )
    lines = ["def parse(line):"]
    if fields:
        lines += [
            "    if b'\\\\' in line: return parse_row(line, converters)",
            f"    {', '.join(fields)}, = line[:-1].decode().split('\\t')",
        ]
    lines.append(f"    return ({values})")
    exec("\n".join(lines), scope)  # noqa: S102 - built from column counts and type ids alone
    return scope["parse"]


def _expression(type_id: int, converter: Converter, field: str, scope: dict[str, Any]) -> str:
    if type_id in INTEGER_TYPES:
        return f"int({field})"
    if type_id == BOOL:
        return f"1 if {field} == 't' else 0"
    if converter is as_it_is:
        return field
    scope[f"convert_{field}"] = converter
    return f"convert_{field}({field})"


def parse_row(line: bytes, converters: list[Converter]) -> tuple[SyncValue, ...]:
    """One line, whatever is in it."""
    if not converters:  # a table may have no columns
        return ()
    fields = line.decode().removesuffix("\n").split("\t")
    if b"\\" not in line:
        return tuple(
            [
                field if convert is as_it_is else convert(field)
                for convert, field in zip(converters, fields, strict=True)
            ]
        )
    return tuple(
        [
            None if field == "\\N" else convert(_unescape(field) if "\\" in field else field)
            for convert, field in zip(converters, fields, strict=True)
        ]
    )


def _unescape(field: str) -> str:
    parts = field.split("\\")
    out = [parts[0]]
    index = 1
    while index < len(parts):
        part = parts[index]
        if part == "":  # an escaped backslash: what follows it is plain
            out.append("\\")
            index += 1
            if index < len(parts):
                out.append(parts[index])
        else:
            out.append(_ESCAPES.get(part[0], part[0]) + part[1:])
        index += 1
    return "".join(out)
