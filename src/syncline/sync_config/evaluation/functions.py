"""The functions and operators of the language: name, number of arguments, implementation (sync config reference, 2.5 and 5).

Add a function by adding a line to `FUNCTIONS`. Names in `OPERATORS` cannot be called by name: the compiler emits them. The
implementations stand by theme in `text_functions`, `json_functions`, `time_functions`, `geometry`, `operators` and `values`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation import (
    geometry,
    json_functions,
    operators,
    text_functions,
    time_functions,
    values,
)

__all__ = ["FUNCTIONS", "LEGACY_FUNCTIONS", "OPERATORS", "Function", "implementation"]


class Function(NamedTuple):
    """A scalar function; `arguments_max` None means any number."""

    evaluate: Callable[..., SyncValue]
    arguments_min: int
    arguments_max: int | None


FUNCTIONS: dict[str, Function] = {
    "base64": Function(text_functions.base64, 1, 1),
    "datetime": Function(time_functions.datetime, 1, None),
    "hex": Function(text_functions.hex_text, 1, 1),
    "ifnull": Function(operators.if_null, 2, None),
    "iif": Function(operators.if_then_else, 3, 3),
    "instr": Function(text_functions.instr, 2, 2),
    "json_array_length": Function(json_functions.json_array_length, 1, 2),
    "json_extract": Function(json_functions.json_extract, 2, None),
    "json_keys": Function(json_functions.json_keys, 1, 1),
    "length": Function(text_functions.length, 1, 1),
    "lower": Function(text_functions.lower, 1, 1),
    "st_asgeojson": Function(geometry.st_asgeojson, 1, 1),
    "st_astext": Function(geometry.st_astext, 1, 1),
    "st_x": Function(geometry.st_x, 1, 1),
    "st_y": Function(geometry.st_y, 1, 1),
    "substring": Function(text_functions.substring, 2, 3),
    "typeof": Function(operators.type_of, 1, 1),
    "unixepoch": Function(time_functions.unixepoch, 1, None),
    "upper": Function(text_functions.upper, 1, 1),
    "uuid_blob": Function(text_functions.uuid_blob, 1, 1),
}
"""Functions that a query of a sync stream may call."""


LEGACY_FUNCTIONS: dict[str, Function] = {**FUNCTIONS, "json_valid": Function(json_functions.json_valid, 1, 1)}
"""Functions that a query of legacy sync rules may call. Numbers of arguments are not checked there: the compiler leaves out what is
more than `arguments_max` and adds NULL up to `arguments_min`."""


OPERATORS: dict[str, Function] = {
    "=": Function(values.equal, 2, 2),
    "!=": Function(operators.not_equal, 2, 2),
    "<": Function(values.less, 2, 2),
    "<=": Function(values.less_or_equal, 2, 2),
    "+": Function(values.add, 2, 2),
    "-": Function(values.subtract, 2, 2),
    "*": Function(values.multiply, 2, 2),
    "/": Function(values.divide, 2, 2),
    "%": Function(values.remainder, 2, 2),
    "||": Function(values.concatenate, 2, 2),
    "&": Function(operators.and_bits, 2, 2),
    "|": Function(operators.or_bits, 2, 2),
    "<<": Function(operators.shift_left, 2, 2),
    ">>": Function(operators.shift_right, 2, 2),
    "->": Function(json_functions.arrow, 2, 2),
    "->>": Function(json_functions.double_arrow, 2, 2),
    "-> unfixed": Function(json_functions.unfixed_arrow, 2, 2),
    "->> unfixed": Function(json_functions.unfixed_double_arrow, 2, 2),
    "between": Function(operators.between, 3, 3),
    "cast": Function(values.cast, 2, 2),
    "in elements": Function(json_functions.in_elements, 2, 2),
    "in json": Function(json_functions.in_json, 2, 2),
    "in list": Function(operators.in_list, 1, None),
    "is false": Function(operators.is_false, 1, 1),
    "is null": Function(operators.is_null, 1, 1),
    "is true": Function(operators.is_true, 1, 1),
    "json_extract unfixed": Function(json_functions.unfixed_json_extract, 2, None),
    "not": Function(operators.not_true, 1, 1),
    "sign": Function(values.as_number, 1, 1),
}
"""Operators by the name that the compiler gives them. `and` and `or` are evaluated in place, because they stop early.

`!=` is that of legacy sync rules; the names with `unfixed` are for configs without `fixed_json_extract`.
"""


def implementation(name: str) -> Callable[..., SyncValue]:
    """What evaluates `Apply(name, …)`."""
    return (OPERATORS.get(name) or LEGACY_FUNCTIONS[name]).evaluate
