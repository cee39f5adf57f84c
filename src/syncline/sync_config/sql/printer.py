"""Prints a syntax tree as SQL that reads back as the same tree: parentheses and quotes stand where the parser needs them.

Trees that the parser cannot give (an empty IN operand, a list of values outside of IN) have no promised form.
"""

from __future__ import annotations

import re
from decimal import Decimal

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.sql.syntax import (
    BetweenTest,
    BinaryOperation,
    CaseExpression,
    CastExpression,
    ColumnName,
    FromItem,
    FunctionCall,
    InTest,
    IsTest,
    JoinItem,
    LiteralValue,
    Logic,
    Negation,
    Node,
    ResultColumn,
    Select,
    Star,
    SubqueryValue,
    UnaryOperation,
    ValueList,
)

__all__ = ["print_expression", "print_name", "print_query", "query_lines"]

_LOWEST, _OR, _AND, _NOT, _COMPARE, _OTHER, _ADD, _MULTIPLY, _MEMBER, _VALUE = range(10)
"""How strongly operators bind, as the parser reads them (`sql.expressions`)."""

_BINARY = {
    "=": _COMPARE, "!=": _COMPARE, "<": _COMPARE, ">": _COMPARE, "<=": _COMPARE, ">=": _COMPARE,
    "&&": _OTHER, "&": _OTHER, "|": _OTHER, "<<": _OTHER, ">>": _OTHER,
    "+": _ADD, "-": _ADD, "||": _ADD,
    "*": _MULTIPLY, "/": _MULTIPLY, "%": _MULTIPLY,
    "->": _MEMBER, "->>": _MEMBER,
}  # fmt: skip

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_KEYWORDS = frozenset(
    [
        "and",
        "array",
        "as",
        "at",
        "between",
        "by",
        "case",
        "cast",
        "collate",
        "cross",
        "distinct",
        "else",
        "end",
        "except",
        "exists",
        "fetch",
        "filter",
        "for",
        "from",
        "full",
        "group",
        "having",
        "ilike",
        "in",
        "inner",
        "intersect",
        "is",
        "join",
        "left",
        "like",
        "limit",
        "natural",
        "not",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "outer",
        "over",
        "right",
        "row",
        "select",
        "similar",
        "then",
        "true",
        "false",
        "union",
        "using",
        "values",
        "when",
        "where",
        "window",
        "with",
    ]
)
"""Words that mean something else than a name in some place; names that are written like them are quoted."""


def print_query(select: Select) -> str:
    """The query as SQL in one line; line breaks stand only in texts and quoted names."""
    return " ".join(query_lines(select))


def query_lines(select: Select) -> list[str]:
    """The query by clauses: SELECT, FROM, WHERE, and each further part of an AND at the top of WHERE."""
    lines = ["SELECT" + ",".join(f" {_result_column(column)}" for column in select.columns)]
    if select.sources:
        lines.append("FROM " + _sources(select))
    if isinstance(select.where, Logic) and select.where.operator == "and":
        first, *others = (_text(operand, _NOT) for operand in select.where.operands)
        lines += [f"WHERE {first}", *(f"AND {other}" for other in others)]
    elif select.where is not None:
        lines.append(f"WHERE {print_expression(select.where)}")
    return lines


def print_expression(node: Node) -> str:
    """The expression as SQL."""
    return _text(node, _LOWEST)


def print_name(name: str) -> str:
    """A name as SQL: in quotes where it would be folded, or read as a keyword."""
    if _PLAIN_NAME.fullmatch(name) and name not in _KEYWORDS:
        return name
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _names(parts: tuple[str, ...]) -> str:
    return ".".join(print_name(part) for part in parts)


def _result_column(column: ResultColumn) -> str:
    return print_expression(column.expression) + _alias(column.alias)


def _alias(alias: str | None) -> str:
    return "" if alias is None else f" AS {print_name(alias)}"


def _sources(select: Select) -> str:
    first, *others = select.sources
    return _from_item(first.source) + "".join(_join(item) for item in others)


def _join(item: JoinItem) -> str:
    source = _from_item(item.source)
    return f", {source}" if item.condition is None else f" JOIN {source} ON {print_expression(item.condition)}"


def _from_item(item: FromItem) -> str:
    if item.subquery is not None:
        columns = f" ({', '.join(print_name(name) for name in item.column_aliases)})" if item.column_aliases else ""
        return f"({print_query(item.subquery)}){_alias(item.alias)}{columns}"
    if item.function is not None:
        return _call(item.function) + _alias(item.alias)
    return _names(item.parts) + _alias(item.alias)


def _text(node: Node, minimum: int) -> str:
    """The SQL, in parentheses where it binds less strongly than `minimum`."""
    text, strength = _parts(node)
    return f"({text})" if strength < minimum else text


def _parts(node: Node) -> tuple[str, int]:
    match node:
        case Logic():
            strength = _AND if node.operator == "and" else _OR
            return f" {node.operator.upper()} ".join(_text(part, strength + 1) for part in node.operands), strength
        case Negation():
            return f"NOT {_text(node.operand, _NOT)}", _NOT
        case BinaryOperation():
            strength = _BINARY[node.operator]
            # Comparisons beside comparisons are read as meant, but a person would stumble: (a = b) = c.
            left = _text(node.left, strength + 1 if strength == _COMPARE else strength)
            return f"{left} {node.operator} {_text(node.right, strength + 1)}", strength
        case IsTest():
            return f"{_text(node.operand, _OTHER)} IS {'NOT ' * node.negated}{node.what.upper()}", _COMPARE
        case InTest():
            return f"{_text(node.operand, _OTHER)} {'NOT ' * node.negated}IN {_in_target(node.target)}", _COMPARE
        case BetweenTest():
            operand, low, high = (_text(part, _OTHER) for part in (node.operand, node.low, node.high))
            return f"{operand} {'NOT ' * node.negated}BETWEEN {low} AND {high}", _COMPARE
        case _:
            return _value(node), _VALUE


def _value(node: Node) -> str:
    """Expressions that no operator can tear apart."""
    match node:
        case LiteralValue():
            return _literal(node.value)
        case ColumnName():
            return _names(node.parts)
        case Star():
            return _names(node.qualifier) + ".*" if node.qualifier else "*"
        case FunctionCall():
            return _call(node)
        case UnaryOperation():
            is_plain = isinstance(node.operand, (ColumnName, FunctionCall))
            operand = _value(node.operand) if is_plain else f"({print_expression(node.operand)})"
            return f"({node.operator}{operand})"  # a sign binds less than a cast, and may follow another one
        case CastExpression():
            return f"CAST({print_expression(node.operand)} AS {print_name(node.type_name)})"
        case CaseExpression():
            return _case(node)
        case SubqueryValue():
            return f"({print_query(node.select)})"
        case ValueList():
            return f"ARRAY[{', '.join(print_expression(item) for item in node.items)}]"
        case _:
            raise AssertionError(f"no SQL for {type(node).__name__}")


def _call(node: FunctionCall) -> str:
    return f"{_names(node.parts)}({', '.join(print_expression(argument) for argument in node.arguments)})"


def _in_target(target: Select | Node) -> str:
    if isinstance(target, Select):
        return f"({print_query(target)})"
    text = _text(target, _OTHER)
    return f"({text})" if text.startswith("(SELECT") else text  # a value that begins with a subquery is no subquery


def _case(node: CaseExpression) -> str:
    parts = ["CASE"] if node.operand is None else ["CASE", print_expression(node.operand)]
    for condition, value in node.branches:
        parts += ["WHEN", print_expression(condition), "THEN", print_expression(value)]
    if node.otherwise is not None:
        parts += ["ELSE", print_expression(node.otherwise)]
    return " ".join([*parts, "END"])


def _literal(value: SyncValue) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        escaped = value.replace("'", "''")
        return f"'{escaped}'"
    if isinstance(value, float):  # the language has no exponents (sync config reference, 2.5)
        digits = format(Decimal(repr(value)), "f")
        return digits if "." in digits else f"{digits}."
    assert isinstance(value, int), "the parser gives no blobs"
    return str(value)
