"""Python types for the rows of a schema, as source text: what `db.fetch(Todo, …)` needs and type checkers understand."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable
from typing import Literal

from syncline.client.schema import Schema, Table
from syncline.client.schema_columns import BOOLEAN, DATETIME, JSON, Column, ColumnType
from syncline.errors import ClientError

__all__ = ["RowTypeKind", "row_type_source"]

RowTypeKind = Literal["dataclass", "struct", "typed_dict"]

_STORED = {ColumnType.TEXT: "str", ColumnType.INTEGER: "int", ColumnType.REAL: "float"}
_DECODED = {BOOLEAN.name: "bool", DATETIME.name: "datetime", JSON.name: "dict[str, Any] | list[Any]"}
_BASES = {"dataclass": "", "struct": "(msgspec.Struct)", "typed_dict": "(TypedDict)"}


def row_type_source(schema: Schema, *, kind: RowTypeKind = "dataclass") -> str:
    """The source of a module with one type for each table, fields in the order of the view.

    Every column but `id` can be NULL on the device. Raises ClientError for a column whose name cannot be a field (select it under another
    name, with a type of your own), and for two tables whose types would have one name.
    """
    tables = [table for table in schema.tables if not table.insert_only]
    names = [_class_name(table.view_name) for table in tables]
    for name in names:
        if names.count(name) > 1:
            raise ClientError(
                f'Two tables of the schema would have the type "{name}".', hint="Write their types by hand."
            )
    columns = [column for table in tables for column in table.columns]
    body = "\n\n".join(_class_source(name, table, kind) for name, table in zip(names, tables, strict=True))
    return "\n".join([*_head(columns, kind), "", "", body])


def _head(columns: Iterable[Column], kind: RowTypeKind) -> list[str]:
    codecs = {column.codec.name for column in columns}
    lines = [
        '"""Types of the rows on the device, generated from the schema."""',
        "",
        "from __future__ import annotations",
        "",
    ]
    if kind == "dataclass":
        lines.append("from dataclasses import dataclass")
    if DATETIME.name in codecs:
        lines.append("from datetime import datetime")
    typing = [name for name, used in (("Any", JSON.name in codecs), ("TypedDict", kind == "typed_dict")) if used]
    if typing:
        lines.append(f"from typing import {', '.join(typing)}")
    if kind == "struct":
        lines += ["", "import msgspec"] if lines[-1] else ["import msgspec"]
    return lines


def _class_source(name: str, table: Table, kind: RowTypeKind) -> str:
    lines = ["@dataclass"] if kind == "dataclass" else []
    lines += [f"class {name}{_BASES[kind]}:", f'    """A row of `{table.view_name}`."""', "", "    id: str"]
    lines += [f"    {_field_name(table, column)}: {_annotation(column)}" for column in table.columns]
    return "\n".join(lines) + "\n"


def _annotation(column: Column) -> str:
    return f"{_DECODED.get(column.codec.name) or _STORED[column.type]} | None"


def _field_name(table: Table, column: Column) -> str:
    if not column.name.isidentifier() or keyword.iskeyword(column.name):
        raise ClientError(
            f'The column "{column.name}" of table "{table.name}" cannot be a field of a Python type.',
            hint=f'Write the type by hand, and select the column under another name: SELECT "{column.name}" AS …',
        )
    return column.name


def _class_name(table: str) -> str:
    """`todo_items` as TodoItems; the plural stays, for it cannot be undone by rules."""
    words = [word for word in re.split(r"[^0-9A-Za-z]+", table) if word]
    name = "".join(word[0].upper() + word[1:] for word in words) or "Row"
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"Row{name}"
