"""Splits a query into tokens with source spans. Lexical rules are Postgres's (sync config reference, section 2)."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span

__all__ = ["NUMBER_CHARS_MAX", "QUERY_CHARS_MAX", "SqlError", "Token", "TokenKind", "bind_parameter", "tokenize"]

QUERY_CHARS_MAX = 50_000  # characters of one query; a query of a page has 3,000

NUMBER_CHARS_MAX = 300  # characters of a number; reals end at 10 to the 308th


class SqlError(Exception):
    """A query that is not understood, with the place inside of the query's text."""

    def __init__(self, message: str, span: Span, *, hint: str = "", kind: ProblemKind = ProblemKind.SQL_SYNTAX) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.span = span
        self.hint = hint


class TokenKind(enum.Enum):
    """What a token is."""

    WORD = "word"  # an unquoted name or keyword; `value` is folded to lower case
    QUOTED_NAME = "quoted name"
    TEXT = "text"
    NUMBER = "number"
    OPERATOR = "operator"
    END = "end"


class Token(NamedTuple):
    """One token; `value` is the name, text or number meant, `span` where it stands."""

    kind: TokenKind
    value: str | int | float
    span: Span

    def is_word(self, word: str) -> bool:
        """Whether this is the keyword `word` (lower case)."""
        return self.kind is TokenKind.WORD and self.value == word

    def is_operator(self, operator: str) -> bool:
        """Whether this is the operator or punctuation `operator`."""
        return self.kind is TokenKind.OPERATOR and self.value == operator


_TOKEN = re.compile(
    r"""
      (?P<blank>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<text>'(?:[^']|'')*')
    | (?P<escaped>[eE]'(?:[^'\\]|''|\\.)*')
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[A-Za-z_0-9]*)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<parameter>\$[0-9]+|:[A-Za-z_]\w*)
    | (?P<operator>->>|->|\|\||&&|::|<=|>=|<>|!=|<<|>>|@>|<@|\#>>|\#>|!~\*|!~|~\*|\?\||\?&|[=<>+\-*/%&|(),.\[\];^~?\#@])
    """,
    re.VERBOSE | re.DOTALL,
)


def tokenize(sql: str) -> list[Token]:
    """All tokens of a query, ending with END. Raises SqlError for what is no token, and for bind parameters."""
    if len(sql) > QUERY_CHARS_MAX:
        raise SqlError(f"The query is longer than {QUERY_CHARS_MAX} characters", (0, 1), kind=ProblemKind.TOO_LARGE)
    tokens: list[Token] = []
    position = 0
    while position < len(sql):
        match = _TOKEN.match(sql, position)
        if match is None:
            raise _no_token(sql, position)
        span = match.span()
        position = span[1]
        if match.lastgroup != "blank":
            tokens.append(_token(match.lastgroup or "", match.group(), span))
    tokens.append(Token(TokenKind.END, "", (len(sql), len(sql))))
    return tokens


def _token(group: str, text: str, span: Span) -> Token:
    if group == "text":
        return Token(TokenKind.TEXT, text[1:-1].replace("''", "'"), span)
    if group == "escaped":
        return Token(TokenKind.TEXT, _unescaped(text[2:-1], span), span)
    if group == "quoted":
        return Token(TokenKind.QUOTED_NAME, text[1:-1].replace('""', '"'), span)
    if group == "word":
        return Token(TokenKind.WORD, text.lower(), span)
    if group == "number":
        return Token(TokenKind.NUMBER, _number(text, span), span)
    if group == "parameter":
        raise bind_parameter(span)
    return Token(TokenKind.OPERATOR, "!=" if text == "<>" else text, span)


def bind_parameter(span: Span) -> SqlError:
    """That `$1`, `:x` or `?` stands where a value belongs."""
    return SqlError(
        "Bind parameters are not supported",
        span,
        kind=ProblemKind.BIND_PARAMETER,
        hint="Use auth.user_id(), auth.parameter('…'), connection.parameter('…') or subscription.parameter('…').",
    )


_ESCAPE = re.compile(r"''|\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_CONTROL = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _unescaped(text: str, span: Span) -> str:
    """The text that `E'…'` means (Postgres: string constants with C-style escapes)."""

    def replace(match: re.Match[str]) -> str:
        octal, short, four, eight, other = match.groups()
        if octal:
            return chr(int(octal, 8) & 0xFF)
        if short or four or eight:
            return chr(int(short or four or eight, 16))
        return "'" if other is None else _CONTROL.get(other, other)

    try:
        return _ESCAPE.sub(replace, text)
    except (ValueError, OverflowError):
        raise SqlError("This text has an escape beyond Unicode", span) from None


def _number(text: str, span: Span) -> int | float:
    if len(text) > NUMBER_CHARS_MAX:
        raise SqlError(f"A number has at most {NUMBER_CHARS_MAX} characters", span)
    if text.isdecimal():
        return int(text)
    try:
        if any(character.isalpha() or character == "_" for character in text):
            raise ValueError
        return float(text)
    except ValueError:
        raise SqlError("This is not a number", span, hint="Write digits, with a decimal point if needed.") from None


def _no_token(sql: str, position: int) -> SqlError:
    span = (position, position + 1)
    if sql[position] in "'\"":
        return SqlError("The quote is not closed", span)
    if sql.startswith("/*", position):
        return SqlError("The comment is not closed", span)
    return SqlError("Unexpected character", span)
