"""Generates expressions over one unit, of a kind that is known, so that no expression raises an error for any row.

Errors (JSON functions over text that is no JSON, for example) would take rows away; what is generated has a value everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.support.sync_config_oracle.schema import Kind
from tests.support.sync_config_oracle.tree import (
    Between,
    Call,
    CaseWhen,
    Cast,
    Constant,
    InArray,
    Infix,
    InJson,
    IsTest,
    JsonStep,
    Logic,
    Negation,
    Node,
    UnaryPlus,
)
from tests.support.sync_config_oracle.units import Field, Unit

__all__ = ["COMMON_TEXTS", "NUMBERS", "ScalarGenerator"]

COMMON_TEXTS = ("u1", "u2", "u3", "a", "b", "c", "red")
ODD_TEXTS = ("1", "2", "07", "3x", " 4", "0.5", "", "É", "It's", "-2", "B", "0x10", "é b")
NUMBERS: tuple[int | float, ...] = (0, 1, 2, 3, 4, 1.0, 0.5, 1.5, 2.0, -1, -0.25, 7)
JSON_LITERALS = ('["a","b","u1"]', '["u1","u2","red",null]', "[1,2.0,3]", '["a",1,true]', "[]")

_NUMERIC: tuple[Kind, ...] = ("int", "real", "any", "text")
_Grown = tuple[Node, Kind]


class ScalarGenerator:
    """Draws expressions and tests over one unit at a time."""

    def __init__(self, draw: random.Random) -> None:
        self._draw = draw

    def constant(self, kind: Kind, *, special: float = 0.04) -> Node:
        """A literal that has a chance to be equal to values of the kind; with probability `special` NULL or a truth value."""
        draw = self._draw
        if draw.random() < special:
            return Constant(draw.choice((None, True, False)))
        if kind in ("text", "opaque") or (kind == "any" and draw.random() < 0.6):
            return Constant(draw.choice(COMMON_TEXTS if draw.random() < 0.75 else ODD_TEXTS))
        if kind == "list":
            return Constant(draw.choice(JSON_LITERALS))
        if kind == "big":
            return Constant(draw.choice((9007199254740993, 9007199254740992, 5)))
        return Constant(draw.choice(NUMBERS))

    def value(self, unit: Unit, depth: int, start: Field | None = None) -> _Grown | None:
        """An expression that reads the unit, at most `depth` operators deep; None where the unit has no field."""
        picked = start or unit.pick(self._draw)
        if picked is None:
            return None
        node, kind = picked.node, picked.kind
        for _ in range(depth):
            if self._draw.random() < 0.75:
                node, kind = self._grow(unit, node, kind)
        return node, kind

    def comparable(self, unit: Unit, kind: Kind) -> Node:
        """Something to compare a value of `kind` with: a constant, or another field of the unit."""
        picked = unit.pick(self._draw, (kind,)) if self._draw.random() < 0.4 else None
        return self.constant(kind) if picked is None else picked.node

    # Operators and functions around a value

    def _grow(self, unit: Unit, node: Node, kind: Kind) -> _Grown:
        makers: list[Callable[[Unit, Node, Kind], _Grown]] = [self._choice, self._general]
        if kind in _NUMERIC:
            makers += [self._calculation, self._numeric_cast]
        if kind in ("text", "opaque", "any", "int", "real", "big"):
            makers += [self._text_function, self._text_function]
        if kind == "int":
            makers.append(self._mixed_additions)
        if kind in ("list", "doc"):
            makers += [self._json, self._json, self._json]
        return self._draw.choice(makers)(unit, node, kind)

    def _calculation(self, unit: Unit, node: Node, kind: Kind) -> _Grown:
        draw = self._draw
        if draw.random() < 0.07:
            return UnaryPlus(node), "int" if kind == "int" else "real"
        other = unit.pick(draw, ("int", "real")) if draw.random() < 0.3 else None
        right, right_kind = (other.node, other.kind) if other else (self.constant("int"), "real")
        operator = draw.choice(("+", "-", "*", "/", "/", "%", "bits", "bits"))
        if operator == "bits":
            whole = node if kind == "int" else Cast(node, "integer", colons=draw.random() < 0.5)
            return Infix(draw.choice(("&", "|", "<<", ">>")), whole, Constant(draw.choice((0, 1, 2, 3, None)))), "int"
        if operator == "%":
            # The remainder of reals is not fixed by the reference: both sides are whole numbers here.
            if kind != "int":
                node = Cast(node, "integer", colons=draw.random() < 0.5)
            return Infix("%", node, Constant(draw.choice((2, 3, 0, -2, None)))), "int"
        if operator == "/" and draw.random() < 0.6:
            right, right_kind = Constant(draw.choice((2, 2, 4, -2))), "int"  # integers are cut off, reals are not
        elif draw.random() < 0.25:
            node, right = right, node
        return Infix(operator, node, right), "int" if kind == right_kind == "int" else "real"

    def _mixed_additions(self, unit: Unit, node: Node, kind: Kind) -> _Grown:
        """`||` and `+` next to each other: they bind equally, from left to right."""
        text = Infix("||", node, Constant(self._draw.choice((0, 1, 2))))
        return Infix(self._draw.choice(("+", "-")), text, Constant(self._draw.choice((1, 2, 0.5)))), "real"

    def _numeric_cast(self, unit: Unit, node: Node, kind: Kind) -> _Grown:
        # A cast of a real to numeric is left out: whether it stays a real is not said by the reference.
        to = self._draw.choice(("integer", "real", "numeric") if kind in ("text", "int") else ("integer", "real"))
        return Cast(node, to, colons=self._draw.random() < 0.5), "int" if to == "integer" else "real"

    def _text_function(self, unit: Unit, node: Node, kind: Kind) -> _Grown:
        draw = self._draw
        match draw.choice(("case", "length", "instr", "substring", "concat", "cast", "hex", "base64")):
            case "case":
                kept: Kind = "text" if kind in ("text", "any") else "opaque"
                return Call(draw.choice(("upper", "lower", "UPPER")), (node,)), kept
            case "length":
                return Call("length", (node,)), "int"
            case "instr":
                return Call("instr", (node, self.constant("text"))), "int"
            case "substring":
                arguments = (node, Constant(draw.choice((0, 1, 2, 3, -1, -2, -9, -9))))
                if draw.random() < 0.6:
                    arguments = (*arguments, Constant(draw.choice((0, 1, 2, 5, -1, -2))))
                return Call("substring", arguments), "opaque"
            case "concat":
                other = self.comparable(unit, "text" if draw.random() < 0.7 else "int")
                return (Infix("||", node, other) if draw.random() < 0.6 else Infix("||", other, node)), "opaque"
            case "cast":
                return Cast(node, "text", colons=draw.random() < 0.5), "opaque"
            case _ as function:
                return Call(function, (node,)), "opaque"

    def _general(self, unit: Unit, node: Node, kind: Kind) -> _Grown:
        draw = self._draw
        match draw.choice(("ifnull", "typeof", "typeof", "blob", "length of blob")):
            case "ifnull":
                return Call("ifnull", (node, self.constant(kind if kind != "doc" else "text"))), _mixed(kind)
            case "typeof":
                found = Call("typeof", (node,))
                name = Constant(draw.choice(("real", "integer", "text", "null")))
                return (Infix("=", found, name), "int") if draw.random() < 0.7 else (found, "text")
            case "blob":
                blob = Cast(node, "blob", colons=draw.random() < 0.5)
                return draw.choice(((Call("hex", (blob,)), "opaque"), (Cast(blob, "text", colons=True), "opaque")))
            case _:
                return Call("length", (Cast(node, "blob", colons=False),)), "int"

    def _choice(self, unit: Unit, node: Node, kind: Kind) -> _Grown:
        draw = self._draw
        other = self.constant("text" if kind in ("doc", "list") else kind)
        test = self.test(unit, 0) or Constant(1)
        form = draw.choice(("iif", "case", "case of"))
        if form == "iif":
            return Call("iif", (test, node, other)), _mixed(kind)
        otherwise = draw.choice((None, other, node))
        if form == "case":
            more = ((self.test(unit, 0) or Constant(0), other),) if draw.random() < 0.4 else ()
            return CaseWhen(None, ((test, node), *more), otherwise), _mixed(kind)
        operand = self.value(unit, 0)
        assert operand is not None
        branches = ((self.constant(operand[1]), node), (self.constant(operand[1]), other))
        return CaseWhen(operand[0], branches, otherwise), _mixed(kind)

    def _json(self, unit: Unit, node: Node, kind: Kind) -> _Grown:
        draw = self._draw
        if kind == "list":
            key = draw.choice((0, 1, "0", "$.0", 5))
            options: list[_Grown] = [
                (JsonStep("->>", node, key), "any"),
                (JsonStep("->", node, key), "opaque"),
                (Call("json_array_length", (node,)), "int"),
                (Call("json_extract", (node, Constant("$.0"))), "any"),
            ]
            return draw.choice(options)
        key = draw.choice(("role", "n", "list", "sub", "$.sub.t", "z", "missing", "on"))
        path = draw.choice(("$.role", "$.n", "$.sub.t", "$.sub.r", "$.list.0", "$.missing", "$.z"))
        options = [
            (JsonStep("->>", node, key), "any" if key not in ("list", "sub") else "opaque"),
            (JsonStep("->", node, key), "opaque"),
            (JsonStep("->>", JsonStep("->", node, "sub"), "t"), "any"),
            (JsonStep("->", node, "list"), "list"),
            (Call("json_extract", (node, Constant(path))), "any"),
            (Call("json_array_length", (node, Constant("$.list"))), "int"),
            (Call("json_keys", (node,)), "list"),
            (Call("json_keys", (node,)), "list"),
        ]
        return draw.choice(options)

    # Tests

    def test(self, unit: Unit, depth: int, start: Field | None = None) -> Node | None:
        """A condition over the unit alone; None where the unit has no field."""
        draw = self._draw
        if depth > 0 and draw.random() < 0.15:
            parts = [self.test(unit, depth - 1) for _ in range(2)]
            joined = tuple(part for part in parts if part is not None)
            return Logic(draw.choice(("AND", "OR")), joined) if len(joined) == 2 else None
        if depth > 0 and draw.random() < 0.1:
            inner = self.test(unit, depth - 1)
            return None if inner is None else Negation(inner)
        grown = self.value(unit, depth, start)
        return None if grown is None else self._test_of(unit, *grown)

    def _test_of(self, unit: Unit, node: Node, kind: Kind) -> Node:
        draw = self._draw
        negated = draw.random() < 0.4
        match draw.choice(("compare", "compare", "compare", "between", "is", "in", "bare", "equal", "equal")):
            case "between":
                low, high = self.constant(kind), self.constant(kind)
                return Between(node, low, high, negated)
            case "is":
                return IsTest(node, draw.choice(("NULL", "NULL", "TRUE", "FALSE")), negated)
            case "in":
                items = tuple(self.comparable(unit, kind) for _ in range(draw.randrange(1, 4)))
                if draw.random() < 0.2:
                    items = (*items, self.constant(kind, special=1))
                return InArray(node, draw.choice(("ARRAY", "ROW")), items, negated)
            case "bare":
                return node
            case "equal":
                return Infix("=", node, self.comparable(unit, kind))
            case _:
                other = self.comparable(unit, kind if draw.random() < 0.85 else "any")
                sides = (node, other) if draw.random() < 0.7 else (other, node)
                return Infix(draw.choice(("<", ">", "<=", ">=", "!=", "<>", "!=")), *sides)

    def in_own_json(self, unit: Unit) -> Node | None:
        """`x [NOT] IN` a JSON array of the same unit, or a literal one. Only NOT IN over connection data."""
        draw = self._draw
        array = unit.pick(draw, ("list",))
        left = self.value(unit, draw.randrange(2))
        if left is None:
            return None
        negated = unit.is_connection or draw.random() < 0.5
        if array is None or draw.random() < 0.4:
            return InJson(left[0], self.constant_list(), negated)
        operand = self.constant("text") if draw.random() < 0.4 else left[0]
        return InJson(operand, array.node, negated)

    def constant_list(self) -> Node:
        """A JSON array as literal."""
        return Constant(self._draw.choice(JSON_LITERALS))


def _mixed(kind: Kind) -> Kind:
    """The kind of a value that may have been replaced by a constant."""
    return "opaque" if kind in ("list", "doc", "big", "opaque") else "any" if kind in ("text", "any") else "real"
