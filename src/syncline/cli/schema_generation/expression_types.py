"""Which types the value of an expression can have, as far as the columns that it reads are known. Pure.

What operators and functions return: sync config reference, 2.5 and 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from syncline.cli.schema_generation.model import ANY_SCALAR, ValueTypes
from syncline.cli.schema_generation.source_columns import SourceColumn
from syncline.sync_config.compiler.expressions import (
    Apply,
    Case,
    ColumnValue,
    Expression,
    Literal,
    RequestValue,
    RowMeta,
)

__all__ = ["BOOLEAN", "ValueType", "value_type"]

TEXT, INTEGER, REAL, BLOB = ValueTypes.TEXT, ValueTypes.INTEGER, ValueTypes.REAL, ValueTypes.BLOB
NUMBER = INTEGER | REAL
NOTHING = ValueTypes(0)


class ValueType(NamedTuple):
    """Types of a value, and the source's name for its type; empty where it has none."""

    types: ValueTypes
    declared: str = ""


BOOLEAN = ValueType(INTEGER, "bool")

_CONDITIONS = frozenset(
    {"=", "!=", "<", "<=", "between", "in elements", "in json", "in list", "is false", "is null", "is true", "not"}
    | {"and", "or", "json_valid"}
)
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "sign"})
_CASTS = {"text": TEXT, "integer": INTEGER, "real": REAL, "numeric": NUMBER, "blob": BLOB}
_RESULTS: Mapping[str, ValueTypes] = {
    "&": INTEGER,
    "->": TEXT,
    "-> unfixed": TEXT,
    "->>": ANY_SCALAR,
    "->> unfixed": ANY_SCALAR,
    "<<": INTEGER,
    ">>": INTEGER,
    "base64": TEXT,
    "datetime": TEXT,
    "hex": TEXT,
    "instr": INTEGER,
    "json_array_length": INTEGER,
    "json_extract": ANY_SCALAR,
    "json_extract unfixed": ANY_SCALAR,
    "json_keys": TEXT,
    "length": INTEGER,
    "lower": TEXT,
    "st_asgeojson": TEXT,
    "st_astext": TEXT,
    "st_x": REAL,
    "st_y": REAL,
    "substring": TEXT,
    "typeof": TEXT,
    "unixepoch": NUMBER,  # with 'subsec' it has a fraction
    "upper": TEXT,
    "uuid_blob": BLOB,
    "|": INTEGER,
    "||": TEXT,
}
"""What functions and operators return whose arguments do not matter for it."""


def value_type(expression: Expression, columns: Mapping[str, SourceColumn]) -> ValueType:
    """The type of an expression over a row of a table with these columns. A column that is not among them can be anything."""
    match expression:
        case Literal(value=value):
            return ValueType(_literal(value))
        case ColumnValue(source=0, name=name):
            column = columns.get(name)
            return ValueType(column.types, column.declared) if column else ValueType(ANY_SCALAR)
        case ColumnValue() | RowMeta():
            return ValueType(TEXT)
        case Case(branches=branches, otherwise=otherwise):
            return _either((*(result for _, result in branches), otherwise), columns)
        case Apply(name=name, arguments=arguments):
            return _applied(name, arguments, columns)
        case RequestValue():
            return ValueType(ANY_SCALAR)
        case _:
            return ValueType(ANY_SCALAR)


def _literal(value: object) -> ValueTypes:
    match value:
        case None:
            return NOTHING
        case bool() | int():
            return INTEGER
        case float():
            return REAL
        case str():
            return TEXT
        case _:
            return BLOB


def _applied(name: str, arguments: tuple[Expression, ...], columns: Mapping[str, SourceColumn]) -> ValueType:
    if name in _CONDITIONS:
        return BOOLEAN
    if name in _ARITHMETIC:
        return ValueType(_number([value_type(argument, columns).types for argument in arguments]))
    if name == "cast":
        target = arguments[1]
        return ValueType(_CASTS.get(str(target.value), ANY_SCALAR) if isinstance(target, Literal) else ANY_SCALAR)
    if name == "ifnull":
        return _either(arguments, columns)
    if name == "iif":
        return _either(arguments[1:], columns)
    return ValueType(_RESULTS.get(name, ANY_SCALAR))


def _number(operands: list[ValueTypes]) -> ValueTypes:
    """What arithmetic gives: whole numbers of whole numbers; text may hold either kind."""
    known = [types for types in operands if types]
    if all(types == INTEGER for types in known):
        return INTEGER
    return REAL if REAL in known else NUMBER


def _either(results: tuple[Expression, ...], columns: Mapping[str, SourceColumn]) -> ValueType:
    found = [value_type(result, columns) for result in results]
    types = NOTHING
    for one in found:
        types |= one.types
    declared = {one.declared for one in found if one.types}
    return ValueType(types, declared.pop() if len(declared) == 1 else "")
