"""Comments of a sync config, so that they can be written into the migrated one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from syncline.sync_config.source_text import SourceText, Span
from syncline.sync_config.sql.tokens import tokenize

__all__ = ["CommentsByName", "comments_by_name", "sql_comments"]

CommentsByName = dict[str | None, list[str]]
"""Comment lines, each beginning with `#`, by the entry that they belong to; None: to the whole document."""


def comments_by_name(text: str, names: Iterable[tuple[str, Span]], queries: Iterable[Span]) -> CommentsByName:
    """The lines of a document that are nothing but a comment. `names` are the keys of entries, `queries` the places of SQL.

    Lines right above a key belong to its entry, lines below it too, unless they are not indented: these are of the document.
    """
    source = SourceText(text)
    starts = {source.line_of(span[0]): name for name, span in names}
    in_sql = {line for start, end in queries for line in range(source.line_of(start) + 1, source.line_of(end - 1) + 1)}
    found: CommentsByName = {}
    waiting: list[tuple[str, bool]] = []
    current: str | None = None
    for number, line in enumerate([*text.split("\n"), "end"], 1):
        content = line.strip()
        if content.startswith("#") and number not in in_sql:
            waiting.append((content, line[0] != "#"))
            continue
        if number in starts:
            current = starts[number]
        for comment, is_indented in waiting:
            found.setdefault(current if is_indented or number in starts else None, []).append(comment)
        waiting = []
        if line[:1].strip() and number not in starts and number not in in_sql:
            current = None  # the next part of the document
    return found


def sql_comments(sql: str) -> list[str]:
    """The lines of the comments in a query, without the signs that begin and end them."""
    spans = [(0, 0), *(token.span for token in tokenize(sql))]
    gaps = [sql[before[1] : after[0]] for before, after in pairwise(spans)]
    return [line for gap in gaps for line in _comment_lines(gap)]


def _comment_lines(gap: str) -> Sequence[str]:
    lines = (line.strip().removeprefix("--").removeprefix("/*").removesuffix("*/").strip() for line in gap.split("\n"))
    return [line for line in lines if line]
