"""Reads one query of a bucket definition: a SELECT from at most one table, or one call of `json_each`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.parser import parse_query
from syncline.sync_config.sql.syntax import ColumnName, FromItem, ResultColumn, Select
from syncline.sync_config.sql.tokens import SqlError, Token, TokenKind, tokenize

__all__ = ["column_name", "folded_names", "read_query", "source_of"]

_SEVERAL_SOURCES = frozenset({ProblemKind.UNSUPPORTED_JOIN, ProblemKind.UNSUPPORTED_USING})
_KEYWORDS = frozenset(
    {"select", "from", "where", "and", "or", "not", "in", "is", "null", "true", "false", "as", "cast"}
    | {"text", "numeric", "integer", "real", "blob"}
)


def read_query(sql: str) -> Select:
    """The syntax tree. Raises SqlError for what sync rules do not have: DISTINCT, joins, subqueries, further statements."""
    tokens = tokenize(sql)
    _refuse_distinct(tokens)
    _refuse_further_statements(tokens)
    try:
        select = parse_query(sql)
    except SqlError as exc:
        if exc.kind in _SEVERAL_SOURCES:
            raise _single_table(exc.span) from None
        raise
    for number, item in enumerate(select.sources):
        if number or item.source.subquery is not None:
            raise _single_table(item.source.span)
    return select


def source_of(select: Select) -> FromItem | None:
    """The table or function in FROM; None where there is no FROM."""
    return select.sources[0].source if select.sources else None


def column_name(column: ResultColumn) -> str:
    """The name of a result column: its alias, or the column that it is. Raises SqlError where it has none (reference 8.2)."""
    if column.alias is not None:
        return column.alias
    if isinstance(column.expression, ColumnName):
        return column.expression.parts[-1]
    raise SqlError("This column has no name", column.span, kind=ProblemKind.UNNAMED_COLUMN, hint="Write … AS name.")


def folded_names(sql: str, *, with_aliases: bool) -> Iterator[tuple[str, Span]]:
    """Unquoted names with upper case letters, which SQL reads in lower case; functions and keywords are meant either way."""
    tokens = tokenize(sql)
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        if token.kind is not TokenKind.WORD or token.value in _KEYWORDS:
            continue
        written = sql[token.span[0] : token.span[1]]
        is_alias = before is not None and before.is_word("as")
        is_function = after is not None and after.is_operator("(")
        if written != token.value and not is_function and (with_aliases or not is_alias):
            yield written, token.span


def _single_table(span: Span) -> SqlError:
    return SqlError(
        "A query of sync rules reads exactly one table",
        span,
        kind=ProblemKind.SINGLE_TABLE_ONLY,
        hint="Joins and subqueries need streams (edition 3). Here, a parameter query can find values of one table for another.",
    )


def _refuse_distinct(tokens: Sequence[Token]) -> None:
    if len(tokens) > 1 and tokens[0].is_word("select") and tokens[1].is_word("distinct"):
        raise SqlError(
            "DISTINCT is not supported",
            tokens[1].span,
            kind=ProblemKind.UNSUPPORTED_CLAUSE,
            hint="Leave it out: a bucket holds a row once in any case.",
        )


def _refuse_further_statements(tokens: Sequence[Token]) -> None:
    for token, after in pairwise(tokens):
        if token.is_operator(";") and after.kind is not TokenKind.END:
            raise SqlError(
                "There is more than one statement",
                after.span,
                kind=ProblemKind.MULTIPLE_STATEMENTS,
                hint="Write each query as an entry of its own.",
            )
