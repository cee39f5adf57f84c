"""Reads expressions by operator precedence (Pratt's method).

Precedence, weakest first: OR, AND, NOT, comparisons and IN/BETWEEN/IS, `&&` and bit operators, `+ - ||` (equal, left to right: sync
config reference 2.5), `* / %`, `-> ->>`, sign, `::`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.syntax import (
    BetweenTest,
    BinaryOperation,
    CaseExpression,
    CastExpression,
    ColumnName,
    FunctionCall,
    InTest,
    IsTest,
    LiteralValue,
    Logic,
    Negation,
    Node,
    Select,
    SubqueryValue,
    UnaryOperation,
    ValueList,
)
from syncline.sync_config.sql.tokens import SqlError, Token, TokenKind, bind_parameter

__all__ = ["EXPRESSION_DEPTH_MAX", "ExpressionParser"]

EXPRESSION_DEPTH_MAX = 60  # levels of nesting; generated code nests twice as deep, and Python's limit is 200

_OR, _AND, _NOT, _COMPARE, _OTHER, _ADD, _MULTIPLY, _MEMBER, _SIGN, _CAST = range(1, 11)
_BINARY = {
    "=": _COMPARE,
    "!=": _COMPARE,
    "<": _COMPARE,
    ">": _COMPARE,
    "<=": _COMPARE,
    ">=": _COMPARE,
    "&&": _OTHER,
    "&": _OTHER,
    "|": _OTHER,
    "<<": _OTHER,
    ">>": _OTHER,
    "+": _ADD,
    "-": _ADD,
    "||": _ADD,
    "*": _MULTIPLY,
    "/": _MULTIPLY,
    "%": _MULTIPLY,
    "->": _MEMBER,
    "->>": _MEMBER,
    "::": _CAST,
}
_TESTS = frozenset({"is", "in", "between", "not", "like", "ilike", "similar"})
_UNSUPPORTED_OPERATORS = frozenset({"~", "~*", "!~", "!~*", "@>", "<@", "#>", "#>>", "?", "?|", "?&", "^", "#", "@"})
_RESERVED = frozenset(
    {"select", "from", "where", "and", "or", "not", "in", "is", "between", "case", "when", "then", "else", "end", "as"}
    | {"on", "join", "inner", "union", "group", "order", "having", "limit", "only", "using", "null", "true", "false"}
)


class ExpressionParser(ABC):
    """A cursor over tokens that reads expressions. How a SELECT is read is left to the subclass."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._depth = 0
        self._height = 0

    @abstractmethod
    def parse_select(self) -> Select:
        """Read a SELECT from the current token on."""

    # The cursor

    @property
    def current(self) -> Token:
        """The token at hand."""
        return self._tokens[self._index]

    @property
    def previous_end(self) -> int:
        """Where the token before ends."""
        return self._tokens[self._index - 1].span[1] if self._index else 0

    def peek(self, distance: int) -> Token:
        """A token further on."""
        return self._tokens[min(self._index + distance, len(self._tokens) - 1)]

    def advance(self) -> Token:
        """Take the token at hand."""
        token = self.current
        self._index = min(self._index + 1, len(self._tokens) - 1)
        return token

    def at_word(self, word: str) -> bool:
        """Whether the keyword stands here."""
        return self.current.is_word(word)

    def at_operator(self, operator: str) -> bool:
        """Whether the operator stands here."""
        return self.current.is_operator(operator)

    def at_name(self) -> bool:
        """Whether something stands here that can be a name."""
        kind = self.current.kind
        return kind is TokenKind.QUOTED_NAME or (kind is TokenKind.WORD and self.current.value not in _RESERVED)

    def take_word(self, word: str) -> bool:
        """Take the keyword if it stands here."""
        found = self.at_word(word)
        if found:
            self.advance()
        return found

    def take_operator(self, operator: str) -> bool:
        """Take the operator if it stands here."""
        found = self.at_operator(operator)
        if found:
            self.advance()
        return found

    def expect_word(self, word: str) -> Span:
        """Take the keyword, or raise SqlError."""
        if not self.at_word(word):
            raise self.unexpected(word.upper())
        return self.advance().span

    def expect_operator(self, operator: str) -> Span:
        """Take the operator, or raise SqlError."""
        if not self.at_operator(operator):
            raise self.unexpected(f"`{operator}`")
        return self.advance().span

    def expect_name(self, what: str) -> str:
        """Take a name (folded to lower case unless quoted), or raise SqlError."""
        if not self.at_name():
            raise self.unexpected(what)
        return str(self.advance().value)

    def unexpected(self, wanted: str) -> SqlError:
        """That something else was expected here."""
        if self.current.kind is TokenKind.END:
            return SqlError(f"The query ends where {wanted} was expected", self.current.span)
        return SqlError(f"Expected {wanted} here", self.current.span)

    def descend(self) -> None:
        """Begin an expression or a SELECT inside of another. Raises SqlError where they are nested too deeply."""
        self._depth += 1
        if self._depth > EXPRESSION_DEPTH_MAX:
            raise self._too_deep()

    def ascend(self) -> None:
        """End what `descend` began."""
        self._depth -= 1

    # Expressions

    def parse_expression(self, minimum: int = _OR) -> Node:
        """Read an expression whose operators bind at least as strongly as `minimum`."""
        outer, self._height = self._height, 0
        self.descend()
        left = self._prefix()
        while (extended := self._extend(left, minimum)) is not None:
            left = extended
            self._height += 1
            if self._height > EXPRESSION_DEPTH_MAX:
                raise self._too_deep()
        self.ascend()
        self._height = max(outer, self._height + 1)
        return left

    def _too_deep(self) -> SqlError:
        return SqlError(
            f"The expression is nested deeper than {EXPRESSION_DEPTH_MAX} levels",
            self.current.span,
            kind=ProblemKind.TOO_LARGE,
        )

    def parse_arguments(self) -> tuple[Node, ...]:
        """Read `( expression, … )`."""
        self.expect_operator("(")
        if self.at_word("distinct"):
            raise SqlError("DISTINCT is not supported here", self.current.span, kind=ProblemKind.UNSUPPORTED_CLAUSE)
        arguments: list[Node] = []
        if not self.at_operator(")"):
            arguments.append(self.parse_expression())
            while self.take_operator(","):
                arguments.append(self.parse_expression())
        self.expect_operator(")")
        return tuple(arguments)

    def _extend(self, left: Node, minimum: int) -> Node | None:
        """`left` with the next operator and its right side, or None where none follows that binds strongly enough."""
        token = self.current
        if token.kind is TokenKind.OPERATOR:
            power = _BINARY.get(str(token.value))
            if token.value in _UNSUPPORTED_OPERATORS:
                message = f"The operator {token.value} is not supported"
                raise SqlError(message, token.span, kind=ProblemKind.UNSUPPORTED_OPERATOR)
            if power is None or power < minimum:
                return None
            self.advance()
            return self._binary(left, str(token.value), power)
        if token.is_word("and") or token.is_word("or"):
            return self._logic(left, str(token.value), minimum)
        if token.kind is TokenKind.WORD and token.value in _TESTS and minimum <= _COMPARE:
            return self._test(left)
        if token.is_word("at") and self.peek(1).is_word("time"):
            raise SqlError("AT TIME ZONE is not supported", token.span, kind=ProblemKind.UNSUPPORTED_OPERATOR)
        if token.is_word("collate"):
            raise SqlError("COLLATE is not supported", token.span, kind=ProblemKind.UNSUPPORTED_OPERATOR)
        return None

    def _binary(self, left: Node, operator: str, power: int) -> Node:
        if operator == "::":
            return CastExpression((left.span[0], self.previous_end), left, self._type_name())
        right = self.parse_expression(power + 1)
        return BinaryOperation((left.span[0], right.span[1]), operator, left, right)

    def _logic(self, left: Node, operator: str, minimum: int) -> Node | None:
        power = _AND if operator == "and" else _OR
        if power < minimum:
            return None
        operands = [left]
        while self.take_word(operator):
            operands.append(self.parse_expression(power + 1))
        return Logic((left.span[0], operands[-1].span[1]), operator, tuple(operands))

    def _test(self, left: Node) -> Node | None:
        start = left.span[0]
        if self.take_word("is"):
            negated = self.take_word("not")
            what = str(self.current.value)
            if self.current.kind is not TokenKind.WORD or what not in {"null", "true", "false"}:
                raise self.unexpected("NULL, TRUE or FALSE")
            self.advance()
            return IsTest((start, self.previous_end), left, what, negated)
        negated = self.take_word("not")
        if self.take_word("between"):
            low = self.parse_expression(_OTHER)
            self.expect_word("and")
            high = self.parse_expression(_OTHER)
            return BetweenTest((start, self.previous_end), left, low, high, negated)
        if self.take_word("in"):
            target = self._in_target()
            return InTest((start, self.previous_end), left, target, negated)
        if self.at_word("ilike") or self.at_word("similar"):
            message = f"{str(self.current.value).upper()} is not supported"
            raise SqlError(message, self.current.span, kind=ProblemKind.UNSUPPORTED_OPERATOR)
        if self.at_word("like"):
            raise SqlError(
                "LIKE is not supported",
                self.current.span,
                kind=ProblemKind.UNSUPPORTED_LIKE,
                hint="Use =, instr(…) or substring(…).",
            )
        raise self.unexpected("IN or BETWEEN")

    def _in_target(self) -> Select | Node:
        if self.at_operator("(") and self.peek(1).is_word("select"):
            self.advance()
            select = self.parse_select()
            self.expect_operator(")")
            return select
        start = self.current.span[0]
        if self.at_word("array") and self.peek(1).is_operator("["):
            self.advance()
            return self._bracket_list(start)
        if self.at_word("row") and self.peek(1).is_operator("("):
            self.advance()
            items = self.parse_arguments()
            return ValueList((start, self.previous_end), items)
        return self.parse_expression(_OTHER)

    def _bracket_list(self, start: int) -> ValueList:
        self.expect_operator("[")
        items: list[Node] = []
        if not self.at_operator("]"):
            items.append(self.parse_expression())
            while self.take_operator(","):
                items.append(self.parse_expression())
        self.expect_operator("]")
        return ValueList((start, self.previous_end), tuple(items))

    def _prefix(self) -> Node:
        token = self.current
        if token.kind in (TokenKind.NUMBER, TokenKind.TEXT):
            self.advance()
            return LiteralValue(token.span, token.value)
        if token.is_operator("("):
            return self._parenthesised()
        if token.is_operator("-") or token.is_operator("+"):
            return self._signed()
        if token.kind is TokenKind.WORD:
            return self._word()
        if token.kind is TokenKind.QUOTED_NAME:
            return self._name()
        if token.is_operator("?"):
            raise bind_parameter(token.span)
        if token.is_operator("*"):
            raise SqlError("`*` must stand alone, as a result column", token.span)
        raise self.unexpected("an expression")

    def _parenthesised(self) -> Node:
        start = self.advance().span[0]
        if self.at_word("select"):
            select = self.parse_select()
            self.expect_operator(")")
            return SubqueryValue((start, self.previous_end), select)
        inner = self.parse_expression()
        if self.at_operator(","):
            raise SqlError(
                "A list of values in parentheses is not supported",
                (start, self.current.span[1]),
                kind=ProblemKind.UNSUPPORTED_EXPRESSION,
                hint="Write ARRAY['a', 'b'] or ROW('a', 'b').",
            )
        self.expect_operator(")")
        return inner

    def _signed(self) -> Node:
        token = self.advance()
        if token.value == "-" and self.current.kind is TokenKind.NUMBER:
            number = self.advance()
            assert not isinstance(number.value, str)
            return LiteralValue((token.span[0], number.span[1]), -number.value)
        operand = self.parse_expression(_SIGN)
        return UnaryOperation((token.span[0], operand.span[1]), str(token.value), operand)

    def _word(self) -> Node:
        token = self.current
        if token.value in ("null", "true", "false"):
            self.advance()
            return LiteralValue(token.span, {"null": None, "true": 1, "false": 0}[str(token.value)])
        if token.value == "not":
            self.advance()
            operand = self.parse_expression(_NOT)
            return Negation((token.span[0], operand.span[1]), operand)
        if token.value == "case":
            return self._case()
        if token.value == "cast" and self.peek(1).is_operator("("):
            return self._cast()
        if token.value == "array" and self.peek(1).is_operator("["):
            self.advance()
            return self._bracket_list(token.span[0])
        return self._name()

    def _name(self) -> Node:
        start = self.current.span[0]
        if self.at_word("exists") and self.peek(1).is_operator("("):
            raise SqlError(
                "EXISTS is not supported",
                self.current.span,
                kind=ProblemKind.UNKNOWN_FUNCTION,
                hint="Write x IN (SELECT …): it holds for the rows for which the subquery finds x.",
            )
        parts = [self.expect_name("an expression")]
        if self.current.kind is TokenKind.TEXT:
            raise SqlError(
                "Constants with a type before them are not supported",
                (start, self.current.span[1]),
                kind=ProblemKind.BAD_CAST,
                hint="Write the text alone, or CAST('…' AS type).",
            )
        while self.at_operator(".") and not self.peek(1).is_operator("*"):
            self.advance()
            parts.append(self.expect_name("a name"))
        if self.at_operator("("):
            arguments = self._call_arguments(parts)
            if (self.at_word("over") or self.at_word("filter")) and self.peek(1).is_operator("("):
                what = str(self.current.value).upper()
                raise SqlError(f"{what} is not supported", self.current.span, kind=ProblemKind.UNSUPPORTED_CLAUSE)
            return FunctionCall((start, self.previous_end), tuple(parts), arguments)
        return ColumnName((start, self.previous_end), tuple(parts))

    def _call_arguments(self, parts: list[str]) -> tuple[Node, ...]:
        """Arguments of a call; `substring(x from a for b)` is read as `substring(x, a, b)`, where `from` may be left out."""
        if parts != ["substring"]:
            return self.parse_arguments()
        self.expect_operator("(")
        arguments = [self.parse_expression()]
        if self.take_word("from"):
            arguments.append(self.parse_expression())
        span = self.current.span
        if self.take_word("for"):
            if len(arguments) == 1:
                arguments.append(LiteralValue(span, 1))
            arguments.append(self.parse_expression())
        while self.take_operator(","):
            arguments.append(self.parse_expression())
        self.expect_operator(")")
        return tuple(arguments)

    def _case(self) -> Node:
        start = self.expect_word("case")[0]
        operand = None if self.at_word("when") else self.parse_expression()
        branches: list[tuple[Node, Node]] = []
        while self.take_word("when"):
            condition = self.parse_expression()
            self.expect_word("then")
            branches.append((condition, self.parse_expression()))
        if not branches:
            raise self.unexpected("WHEN")
        otherwise = self.parse_expression() if self.take_word("else") else None
        self.expect_word("end")
        return CaseExpression((start, self.previous_end), operand, tuple(branches), otherwise)

    def _cast(self) -> Node:
        start = self.advance().span[0]
        self.expect_operator("(")
        operand = self.parse_expression()
        self.expect_word("as")
        type_name = self._type_name()
        self.expect_operator(")")
        return CastExpression((start, self.previous_end), operand, type_name)

    def _type_name(self) -> str:
        name = self.expect_name("a type")
        if self.at_operator("("):
            raise SqlError("Types with arguments are not supported", self.current.span, kind=ProblemKind.BAD_CAST)
        return name
