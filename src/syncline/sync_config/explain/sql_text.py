"""Bound expressions as SQL again, so that an explanation can say which condition it was, in the words of the query."""

from __future__ import annotations

import re
from collections.abc import Sequence

from syncline.sync_config.compiler.expressions import (
    Apply,
    Case,
    ColumnValue,
    Computed,
    Expression,
    Literal,
    RequestValue,
    RowMeta,
)
from syncline.sync_config.explain.shown_value import name_sql, value_sql

__all__ = ["conjuncts", "sql_text"]

_LOWEST, _OR, _AND, _NOT, _COMPARE, _OTHER, _ADD, _MULTIPLY, _MEMBER, _SIGN, _VALUE = range(11)
"""How strongly operators bind, as the parser reads them (`sql.expressions`)."""

_BINARY = {
    "=": _COMPARE, "!=": _COMPARE, "<": _COMPARE, "<=": _COMPARE,
    "&": _OTHER, "|": _OTHER, "<<": _OTHER, ">>": _OTHER,
    "+": _ADD, "-": _ADD, "||": _ADD,
    "*": _MULTIPLY, "/": _MULTIPLY, "%": _MULTIPLY,
    "->": _MEMBER, "->>": _MEMBER,
}  # fmt: skip
_PARAMETER = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\?([0-9]+)""")
"""A parameter in SQL for SQLite, or a text or name, in which `?1` means nothing."""
_MIRRORED = {"<": ">", "<=": ">="}
"""`a > 3` is compiled to `3 < a`; a constant reads better on the right."""
_LEGACY_JSON = " unfixed"
"""What the names of operators end with that read JSON paths in the older way; they are written the same."""


def sql_text(expression: Expression, names: Sequence[str] = ()) -> str:
    """The SQL of an expression. `names` has for each source what stands before the dot of its columns, as SQL."""
    return _Printer(names).text(expression, _LOWEST)


def conjuncts(expression: Expression) -> tuple[Expression, ...]:
    """The parts of an AND: each has to hold, in this order. Other expressions are their only part."""
    if isinstance(expression, Apply) and expression.name == "and":
        return tuple(part for argument in expression.arguments for part in conjuncts(argument))
    return (expression,)


class _Printer:
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def text(self, expression: Expression, minimum: int) -> str:
        """The SQL, in parentheses where it binds less strongly than `minimum`."""
        text, strength = self._parts(expression)
        return f"({text})" if strength < minimum else text

    def _parts(self, expression: Expression) -> tuple[str, int]:
        match expression:
            case Literal():
                return value_sql(expression.value), _VALUE
            case ColumnValue():
                return self._of_source(expression.source, name_sql(expression.name)), _VALUE
            case RowMeta():
                return self._of_source(expression.source, f"{expression.name}()"), _VALUE
            case RequestValue():
                return self._request(expression), _VALUE
            case Case():
                return self._case(expression), _VALUE
            case Apply():
                return self._apply(expression)
            case Computed():
                return self._computed(expression), _LOWEST

    def _of_source(self, source: int, member: str) -> str:
        return f"{self._names[source]}.{member}" if source < len(self._names) else member

    def _request(self, expression: RequestValue) -> str:
        if expression.key is None:
            return f"{expression.scope}.parameters()"
        key = expression.key.value if isinstance(expression.key, Literal) else None
        if expression.scope == "auth" and key == "sub":
            return "auth.user_id()"
        if expression.scope == "token_parameters" and isinstance(key, str):
            return f"token_parameters.{name_sql(key)}"
        return f"{expression.scope}.parameter({self.text(expression.key, _LOWEST)})"

    def _computed(self, expression: Computed) -> str:
        """SQL for SQLite, with the inputs in the place of its parameters."""
        inputs = [self.text(part, _VALUE) for part in expression.inputs]

        def replace(match: re.Match[str]) -> str:
            return inputs[int(match[1]) - 1] if match[1] else match[0]

        return _PARAMETER.sub(replace, expression.sql)

    def _case(self, expression: Case) -> str:
        parts = ["CASE"]
        if expression.operand is not None:
            parts.append(self.text(expression.operand, _LOWEST))
        for condition, value in expression.branches:
            parts.append(f"WHEN {self.text(condition, _LOWEST)} THEN {self.text(value, _LOWEST)}")
        if not (isinstance(expression.otherwise, Literal) and expression.otherwise.value is None):
            parts.append(f"ELSE {self.text(expression.otherwise, _LOWEST)}")
        return " ".join([*parts, "END"])

    def _apply(self, expression: Apply) -> tuple[str, int]:
        name, arguments = expression.name.removesuffix(_LEGACY_JSON), expression.arguments
        if name in ("and", "or"):
            strength = _AND if name == "and" else _OR
            return f" {name.upper()} ".join(self.text(part, strength + 1) for part in arguments), strength
        if name in _BINARY and len(arguments) == 2:
            strength = _BINARY[name]
            if name in _MIRRORED and isinstance(arguments[0], Literal):
                name, arguments = _MIRRORED[name], (arguments[1], arguments[0])
            # Comparisons beside comparisons are read as meant, but a person would stumble: (a = b) = c.
            left = self.text(arguments[0], strength + 1 if strength == _COMPARE else strength)
            return f"{left} {name} {self.text(arguments[1], strength + 1)}", strength
        if name == "not" and len(arguments) == 1:
            return self._negated(arguments[0])
        if name == "sign" and len(arguments) == 1:
            return f"+{self.text(arguments[0], _SIGN)}", _SIGN
        if name == "cast" and isinstance(arguments[-1], Literal):
            return f"CAST({self.text(arguments[0], _LOWEST)} AS {arguments[-1].value})", _VALUE
        test = self._test(name, arguments, negated=False)
        if test is not None:
            return test, _COMPARE
        return f"{name}({', '.join(self.text(argument, _LOWEST) for argument in arguments)})", _VALUE

    def _negated(self, operand: Expression) -> tuple[str, int]:
        if isinstance(operand, Apply):
            if operand.name == "=":
                left, right = operand.arguments
                return f"{self.text(left, _OTHER)} != {self.text(right, _OTHER)}", _COMPARE
            test = self._test(operand.name, operand.arguments, negated=True)
            if test is not None:
                return test, _COMPARE
        return f"NOT {self.text(operand, _NOT)}", _NOT

    def _test(self, name: str, arguments: Sequence[Expression], *, negated: bool) -> str | None:
        """`x IS …`, `x BETWEEN …` and `x IN …`; None for other operators."""
        word = "NOT " if negated else ""
        if name in ("is null", "is true", "is false"):
            return f"{self.text(arguments[0], _OTHER)} IS {word}{name.removeprefix('is ').upper()}"
        if name == "between":
            operand, low, high = (self.text(argument, _OTHER) for argument in arguments)
            return f"{operand} {word}BETWEEN {low} AND {high}"
        if name in ("in json", "in elements"):
            return f"{self.text(arguments[0], _OTHER)} {word}IN {self.text(arguments[1], _OTHER)}"
        if name == "in list":
            items = ", ".join(self.text(item, _LOWEST) for item in arguments[1:])
            return f"{self.text(arguments[0], _OTHER)} {word}IN ARRAY[{items}]"
        return None
