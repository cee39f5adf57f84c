"""Expressions as Python source text. Values that are no plain literal are bound by name in `Names`, so no text of a config is executed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from syncline.protocol.bucket_names import SyncValue
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
from syncline.sync_config.evaluation.context import TableContext
from syncline.sync_config.evaluation.functions import OPERATORS, implementation
from syncline.sync_config.evaluation.values import truthy

__all__ = ["ExpressionCode", "Names"]


class Names:
    """The global names of a generated function: every object once."""

    def __init__(self, **objects: Any) -> None:
        self.objects: dict[str, Any] = dict(objects)
        self._by_id = {id(value): name for name, value in objects.items()}

    def name_of(self, value: Any) -> str:
        """A name under which the generated code finds `value`."""
        name = self._by_id.get(id(value))
        if name is None:
            name = f"g{len(self.objects)}"
            self.objects[name] = value  # also keeps the object alive, so that its id stays its own
            self._by_id[id(value)] = name
        return name


class ExpressionCode:
    """Writes expressions of one table. Columns are the locals `c0`, `c1`, …; elements of expansion i are `e<i>_key`, `e<i>_value`."""

    def __init__(self, table: TableContext, names: Names) -> None:
        self._table = table
        self._names = names
        self._operands = 0

    def value(self, expression: Expression) -> str:
        """Code of the value."""
        match expression:
            case Literal():
                return "None" if expression.value is None else self._names.name_of(expression.value)
            case ColumnValue():
                return self._column(expression)
            case RowMeta():
                return self._names.name_of(self._table.meta(expression.name))
            case Case():
                return self._case(expression)
            case Apply(name="and" | "or"):
                return f"(1 if {self.truth(expression)} else 0)"
            case Apply():
                return self._call(implementation(expression.name), expression.arguments)
            case Computed():
                return self._call(expression.evaluate, expression.inputs)
            case RequestValue():
                raise AssertionError("a row expression never reads connection data")

    def truth(self, expression: Expression) -> str:
        """Code of a Python truth value: whether the expression passes as a filter."""
        if isinstance(expression, Apply):
            arguments = expression.arguments
            if expression.name in ("and", "or"):
                return f"({f' {expression.name} '.join(self.truth(argument) for argument in arguments)})"
            if expression.name == "not":
                return f"(not {self.truth(arguments[0])})"
            if expression.name == "is null":
                return f"({self.value(arguments[0])} is None)"
            if expression.name == "=" and any(
                isinstance(argument, Literal) and isinstance(argument.value, (str, int, float))
                for argument in arguments
            ):
                return f"({self.value(arguments[0])} == {self.value(arguments[1])})"
        return f"{self._names.name_of(truthy)}({self.value(expression)})"

    def _call(self, function: Callable[..., SyncValue], arguments: Sequence[Expression]) -> str:
        return f"{self._names.name_of(function)}({', '.join(self.value(argument) for argument in arguments)})"

    def _column(self, expression: ColumnValue) -> str:
        if expression.source:
            return f"e{expression.source}_{expression.name}"
        position = self._table.position(expression.name)
        return "None" if position is None else f"c{position}"

    def _case(self, expression: Case) -> str:
        operand = ""
        if expression.operand is not None:
            self._operands += 1
            operand = f"w{self._operands}"
        parts: list[str] = []
        for number, (condition, value) in enumerate(expression.branches):
            if expression.operand is None:
                test = self.truth(condition)
            else:
                left = f"({operand} := {self.value(expression.operand)})" if number == 0 else operand
                test = f"{self._names.name_of(OPERATORS['='].evaluate)}({left}, {self.value(condition)})"
            parts.append(f"{self.value(value)} if {test} else ")
        return f"({''.join(parts)}{self.value(expression.otherwise)})"
