"""Translates expressions to calls of the functions in `values.sql`, and conditions to booleans that are never NULL."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.sync_config_oracle.tree import (
    Between,
    Call,
    CaseWhen,
    Cast,
    ColumnOf,
    Constant,
    InArray,
    Infix,
    InJson,
    InSelect,
    IsTest,
    JsonStep,
    Logic,
    Negation,
    Node,
    Overlap,
    Parameter,
    RowMeta,
    UnaryPlus,
    UserId,
)

__all__ = ["condition_sql", "quoted", "value_sql"]

_META = {"schema": "schema_", "table_name": "table_", "table_suffix": "suffix_"}
_COMPARISONS = {
    "=": "oracle.eq({0}, {1})",
    "<": "oracle.lt({0}, {1})",
    "<=": "oracle.le({0}, {1})",
    ">": "oracle.lt({1}, {0})",
    ">=": "oracle.le({1}, {0})",
    "!=": "oracle.boolean(NOT oracle.same({0}, {1}))",  # NOT is two-valued: NULL != x holds
    "<>": "oracle.boolean(NOT oracle.same({0}, {1}))",
    "||": "oracle.concatenate({0}, {1})",
}


def quoted(text: str) -> str:
    """A text literal of Postgres."""
    return f"'{text.replace(chr(39), chr(39) * 2)}'"


def _constant(value: str | float | bool | None) -> str:
    if value is None:
        return "NULL::oracle.value"
    if isinstance(value, str):
        return f"oracle.string({quoted(value)})"
    if isinstance(value, float):
        return f"oracle.floating({value!r})"
    return f"oracle.whole({int(value)})"


def _no_subquery(node: InSelect) -> str:
    raise AssertionError(f"a subquery inside of an expression: {node}")


def value_sql(node: Node) -> str:
    """SQL of a value: an `oracle.value`, or NULL."""
    match node:
        case Constant():
            return _constant(node.value)
        case ColumnOf():
            return f's{node.source}."c_{node.name}"'
        case RowMeta():
            return f"oracle.string(s{node.source}.{_META[node.what]})"
        case UserId():
            return "oracle.parameter(u.auth, 'sub')"
        case Parameter(key=None):
            return f"oracle.parameters(u.{node.scope})"
        case Parameter():
            return f"oracle.parameter(u.{node.scope}, {quoted(node.key or '')})"
        case Infix():
            left, right = value_sql(node.left), value_sql(node.right)
            template = _COMPARISONS.get(node.operator, f"oracle.calculate('{node.operator}', {{0}}, {{1}})")
            return template.format(left, right)
        case UnaryPlus():
            return f"oracle.number_of({value_sql(node.operand)})"
        case JsonStep():
            function = "arrow" if node.arrow == "->" else "double_arrow"
            return f"oracle.{function}({value_sql(node.document)}, {quoted(str(node.key))})"
        case Cast():
            return f"oracle.convert({value_sql(node.operand)}, '{node.type_name}')"
        case Call():
            return _call(node)
        case CaseWhen():
            return _case(node)
        case Between(negated=False):
            return f"oracle.between({value_sql(node.operand)}, {value_sql(node.low)}, {value_sql(node.high)})"
        case InArray(negated=False):
            return f"oracle.in_list({', '.join(value_sql(item) for item in (node.operand, *node.items))})"
        case _:
            return f"oracle.boolean({condition_sql(node, _no_subquery)})"


def _call(node: Call) -> str:
    arguments = [value_sql(argument) for argument in node.arguments]
    match node.function:
        case "iif":
            return f"(CASE WHEN oracle.truthy({arguments[0]}) THEN {arguments[1]} ELSE {arguments[2]} END)"
        case "ifnull":
            return f"(CASE WHEN {arguments[0]} IS NULL THEN {arguments[1]} ELSE {arguments[0]} END)"
        case "json_extract":
            return f"oracle.double_arrow({arguments[0]}, ({arguments[1]}).t)"
        case "json_array_length" if len(arguments) == 2:
            return f"oracle.json_array_length({arguments[0]}, ({arguments[1]}).t)"
        case _:
            return f"oracle.{node.function}({', '.join(arguments)})"


def _case(node: CaseWhen) -> str:
    branches: list[str] = []
    for condition, result in node.branches:
        test = (
            condition_sql(condition, _no_subquery)
            if node.operand is None
            else f"oracle.same({value_sql(node.operand)}, {value_sql(condition)})"
        )
        branches.append(f"WHEN {test} THEN {value_sql(result)}")
    otherwise = "NULL" if node.otherwise is None else value_sql(node.otherwise)
    return f"(CASE {' '.join(branches)} ELSE {otherwise} END)::oracle.value"


def condition_sql(node: Node, in_select: Callable[[InSelect], str]) -> str:
    """SQL of a condition as a boolean, never NULL. `in_select` translates IN (SELECT …)."""
    match node:
        case Logic():
            return f"({f' {node.operator} '.join(condition_sql(part, in_select) for part in node.parts)})"
        case Negation():
            return f"(NOT {condition_sql(node.operand, in_select)})"
        case InSelect():
            return in_select(node)
        case IsTest():
            return f"({'NOT ' * node.negated}{_is(node)})"
        case Between(negated=True):
            return f"(NOT {condition_sql(Between(node.operand, node.low, node.high, negated=False), in_select)})"
        case InArray(negated=True):
            positive = InArray(node.operand, node.keyword, node.items, negated=False)
            return f"(NOT {condition_sql(positive, in_select)})"
        case InJson():
            same = f"oracle.same({value_sql(node.operand)}, e.c_value)"
            exists = f"EXISTS (SELECT 1 FROM oracle.elements({value_sql(node.array)}) AS e WHERE {same})"
            return f"({'NOT ' * node.negated}{exists})"
        case Overlap():
            left, right = value_sql(node.left), value_sql(node.right)
            pairs = f"oracle.elements({left}) AS a, oracle.elements({right}) AS b"
            return f"EXISTS (SELECT 1 FROM {pairs} WHERE oracle.same(a.c_value, b.c_value))"
        case _:
            return f"oracle.truthy({value_sql(node)})"


def _is(node: IsTest) -> str:
    value = value_sql(node.operand)
    if node.what == "NULL":
        return f"{value} IS NULL"
    return f"oracle.is_number({value}, {1 if node.what == 'TRUE' else 0})"
