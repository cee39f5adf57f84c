"""Reads a query: the clauses of a SELECT. Expressions are read by `expressions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.sql.expressions import ExpressionParser
from syncline.sync_config.sql.syntax import FromItem, FunctionCall, JoinItem, Node, ResultColumn, Select, Star
from syncline.sync_config.sql.tokens import SqlError, Token, TokenKind, tokenize

__all__ = ["RESULT_COLUMNS_MAX", "parse_query"]

RESULT_COLUMNS_MAX = 2_000  # columns of one SELECT; Postgres allows 1,664

_UNSUPPORTED_CLAUSES = {
    "group": "GROUP BY",
    "having": "HAVING",
    "order": "ORDER BY",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "for": "FOR",
    "fetch": "FETCH",
    "window": "WINDOW",
}
_SET_OPERATIONS = frozenset({"union", "intersect", "except"})
_STATEMENTS = frozenset(
    {"insert", "update", "delete", "merge", "with", "values", "create", "alter", "drop", "truncate", "explain"}
)
_UNSUPPORTED_JOINS = frozenset({"left", "right", "full", "outer", "cross", "natural"})
_NO_ALIAS = frozenset(
    {"where", "join", "inner", "on", "using", *_UNSUPPORTED_CLAUSES, *_SET_OPERATIONS, *_UNSUPPORTED_JOINS}
)


def parse_query(sql: str, report: Callable[[SqlError], None] | None = None) -> Select:
    """The syntax tree of one SELECT. Raises SqlError at the first thing that is not understood.

    Clauses that are understood but not supported go to `report`, so that all of them are told at once; without it, the first is
    raised. A trailing `;` and what follows it are accepted and ignored, as in the reference.
    """
    parser = _QueryParser(tokenize(sql), report)
    if not parser.at_word("select"):
        known = parser.current.kind is TokenKind.WORD and parser.current.value in _STATEMENTS
        kind = ProblemKind.NOT_A_SELECT if known else ProblemKind.SQL_SYNTAX
        raise SqlError("A query must be a SELECT", parser.current.span, kind=kind, hint="Write SELECT … FROM ….")
    select = parser.parse_select()
    if not parser.at_operator(";") and parser.current.kind is not TokenKind.END:
        raise parser.unexpected("the end of the query")
    return select


class _QueryParser(ExpressionParser):
    """Reads SELECTs, and expressions through its base."""

    def __init__(self, tokens: Sequence[Token], report: Callable[[SqlError], None] | None) -> None:
        super().__init__(tokens)
        self._report = report

    def parse_select(self) -> Select:
        start = self.expect_word("select")
        self.descend()
        self._skip_distinct()
        columns = self._result_columns()
        sources = self._from_clause() if self.take_word("from") else []
        where = self.parse_expression() if self.take_word("where") else None
        self._refuse_clauses()
        self.ascend()
        return Select((start[0], self.previous_end), tuple(columns), tuple(sources), where)

    def _skip_distinct(self) -> None:
        """DISTINCT has no effect on a set of rows with ids, and is ignored (reference 2.2)."""
        if self.take_word("distinct") and self.take_word("on"):
            self.expect_operator("(")
            self.parse_expression()
            while self.take_operator(","):
                self.parse_expression()
            self.expect_operator(")")

    def _result_columns(self) -> list[ResultColumn]:
        """The select list; it may be empty, as in `SELECT FROM people WHERE …` of sync rules."""
        if self.current.kind is TokenKind.END or self.at_word("from") or self.at_word("where"):
            return []
        columns = [self._result_column()]
        while self.take_operator(","):
            columns.append(self._result_column())
            if len(columns) > RESULT_COLUMNS_MAX:
                message = f"A SELECT has at most {RESULT_COLUMNS_MAX} columns"
                raise SqlError(message, columns[-1].span, kind=ProblemKind.TOO_LARGE)
        return columns

    def _result_column(self) -> ResultColumn:
        start = self.current.span[0]
        expression: Node
        if self.at_operator("*"):
            expression = Star(self.advance().span, ())
        elif (star := self._qualified_star()) is not None:
            expression = star
        else:
            expression = self.parse_expression()
        alias = None
        if not isinstance(expression, Star):
            alias = self._alias(also_not=frozenset({"from"}))
        return ResultColumn(expression, alias, (start, self.previous_end))

    def _qualified_star(self) -> Star | None:
        distance = 0
        while self._is_name(self.peek(distance)) and self.peek(distance + 1).is_operator("."):
            distance += 2
        if distance == 0 or not self.peek(distance).is_operator("*"):
            return None
        start = self.current.span[0]
        parts: list[str] = []
        for _ in range(distance // 2):
            parts.append(self.expect_name("a table"))
            self.expect_operator(".")
        self.expect_operator("*")
        return Star((start, self.previous_end), tuple(parts))

    def _is_name(self, token: Token) -> bool:
        return token.kind in (TokenKind.WORD, TokenKind.QUOTED_NAME)

    def _alias(self, *, also_not: frozenset[str] = frozenset()) -> str | None:
        if self.take_word("as"):
            return self.expect_name("a name")
        token = self.current
        if token.kind is TokenKind.QUOTED_NAME or (
            token.kind is TokenKind.WORD and token.value not in _NO_ALIAS and token.value not in also_not
        ):
            return self.expect_name("a name")
        return None

    def _from_clause(self) -> list[JoinItem]:
        items = [JoinItem(self._from_item(), None)]
        while True:
            self._refuse_join()
            if self.take_operator(","):
                items.append(JoinItem(self._from_item(), None))
            elif self.at_word("join") or self.at_word("inner"):
                self.take_word("inner")
                self.expect_word("join")
                source = self._from_item()
                if self.at_word("using"):
                    raise SqlError(
                        "USING is not supported",
                        self.current.span,
                        kind=ProblemKind.UNSUPPORTED_USING,
                        hint="Write ON a.x = b.x.",
                    )
                condition = self.parse_expression() if self.take_word("on") else None
                items.append(JoinItem(source, condition))
            else:
                return items

    def _refuse_join(self) -> None:
        if self.current.kind is TokenKind.WORD and self.current.value in _UNSUPPORTED_JOINS:
            raise SqlError(
                "Only inner joins are supported",
                self.current.span,
                kind=ProblemKind.UNSUPPORTED_JOIN,
                hint="Use JOIN … ON, or a comma and WHERE.",
            )

    def _from_item(self) -> FromItem:
        start = self.current.span[0]
        if self.take_operator("("):
            subquery = self.parse_select()
            self.expect_operator(")")
            alias = self._alias()
            names: list[str] = []
            if alias is not None and self.take_operator("("):
                names.append(self.expect_name("a column name"))
                while self.take_operator(","):
                    names.append(self.expect_name("a column name"))
                self.expect_operator(")")
            return FromItem((start, self.previous_end), alias, subquery=subquery, column_aliases=tuple(names))
        parts = [self.expect_name("a table")]
        while self.take_operator("."):
            parts.append(self.expect_name("a table"))
        span = (start, self.previous_end)
        if self.at_operator("("):
            call = FunctionCall((start, self.previous_end), tuple(parts), self.parse_arguments())
            return FromItem((start, self.previous_end), self._alias(), function=call)
        return FromItem(span, self._alias(), parts=tuple(parts))

    def _refuse_clauses(self) -> None:
        while self.current.kind is TokenKind.WORD:
            word, span = str(self.current.value), self.current.span
            if word in _SET_OPERATIONS:
                hint = "Write both SELECTs under queries:, one each."
                raise SqlError(f"{word.upper()} is not supported", span, kind=ProblemKind.NOT_A_SELECT, hint=hint)
            if word not in _UNSUPPORTED_CLAUSES:
                return
            problem = SqlError(
                f"{_UNSUPPORTED_CLAUSES[word]} is not supported",
                span,
                kind=ProblemKind.UNSUPPORTED_CLAUSE,
                hint="A query selects rows of one table; order, groups and limits belong to queries on the device.",
            )
            if self._report is None:
                raise problem
            self._report(problem)
            self._skip_clause()

    def _skip_clause(self) -> None:
        """Go on to the next clause, or to the end of this SELECT."""
        depth = 0
        self.advance()
        while self.current.kind is not TokenKind.END:
            if self.at_operator(")"):
                if depth == 0:
                    return
                depth -= 1
            depth += self.at_operator("(")
            word = self.current.value if self.current.kind is TokenKind.WORD else None
            if depth == 0 and (word in _UNSUPPORTED_CLAUSES or word in _SET_OPERATIONS or self.at_operator(";")):
                return
            self.advance()
