"""Reads a query: the clauses of a SELECT. Expressions are read by `expressions`."""

from __future__ import annotations

from syncline.sync_config.sql.expressions import ExpressionParser
from syncline.sync_config.sql.syntax import FromItem, FunctionCall, JoinItem, Node, ResultColumn, Select, Star
from syncline.sync_config.sql.tokens import SqlError, TokenKind, tokenize

__all__ = ["parse_query"]

_UNSUPPORTED_CLAUSES = {
    "group": "GROUP BY",
    "having": "HAVING",
    "order": "ORDER BY",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "for": "FOR",
    "fetch": "FETCH",
    "window": "WINDOW",
    "union": "UNION",
    "intersect": "INTERSECT",
    "except": "EXCEPT",
}
_UNSUPPORTED_JOINS = frozenset({"left", "right", "full", "outer", "cross", "natural"})
_NO_ALIAS = frozenset({"where", "join", "inner", "on", "using", *_UNSUPPORTED_CLAUSES, *_UNSUPPORTED_JOINS})


def parse_query(sql: str) -> Select:
    """The syntax tree of one SELECT. Raises SqlError at the first thing that is not understood.

    A trailing `;` and what follows it are accepted and ignored, as in the reference.
    """
    parser = _QueryParser(tokenize(sql))
    if not parser.at_word("select"):
        raise SqlError("A query must be a SELECT", parser.current.span)
    select = parser.parse_select()
    if not parser.at_operator(";") and parser.current.kind is not TokenKind.END:
        raise parser.unexpected("the end of the query")
    return select


class _QueryParser(ExpressionParser):
    """Reads SELECTs, and expressions through its base."""

    def parse_select(self) -> Select:
        start = self.expect_word("select")
        self._skip_distinct()
        columns = [self._result_column()]
        while self.take_operator(","):
            columns.append(self._result_column())
        sources = self._from_clause() if self.take_word("from") else []
        where = self.parse_expression() if self.take_word("where") else None
        self._refuse_clauses()
        return Select((start[0], self.previous_end), tuple(columns), tuple(sources), where)

    def _skip_distinct(self) -> None:
        """DISTINCT has no effect on a set of rows with ids, and is ignored (reference 2.2)."""
        if self.take_word("distinct") and self.take_word("on"):
            self.expect_operator("(")
            self.parse_expression()
            while self.take_operator(","):
                self.parse_expression()
            self.expect_operator(")")

    def _result_column(self) -> ResultColumn:
        start = self.current.span[0]
        expression: Node
        if self.at_operator("*"):
            expression = Star(self.advance().span, None)
        elif (star := self._qualified_star()) is not None:
            expression = star
        else:
            expression = self.parse_expression()
        alias = None
        if not isinstance(expression, Star):
            alias = self._alias(also_not=frozenset({"from"}))
        return ResultColumn(expression, alias, (start, self.previous_end))

    def _qualified_star(self) -> Star | None:
        if not (self.at_name() and self.peek(1).is_operator(".") and self.peek(2).is_operator("*")):
            return None
        start = self.current.span[0]
        name = self.expect_name("a table")
        self.advance()
        self.advance()
        return Star((start, self.previous_end), name)

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
                    raise SqlError("USING is not supported", self.current.span, hint="Write ON a.x = b.x.")
                condition = self.parse_expression() if self.take_word("on") else None
                items.append(JoinItem(source, condition))
            else:
                return items

    def _refuse_join(self) -> None:
        if self.current.kind is TokenKind.WORD and self.current.value in _UNSUPPORTED_JOINS:
            raise SqlError(
                "Only inner joins are supported", self.current.span, hint="Use JOIN … ON, or a comma and WHERE."
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
        token = self.current
        if token.kind is TokenKind.WORD and token.value in _UNSUPPORTED_CLAUSES:
            raise SqlError(
                f"{_UNSUPPORTED_CLAUSES[str(token.value)]} is not supported",
                token.span,
                hint="A query selects rows of one table; order, groups and limits belong to queries on the device.",
            )
