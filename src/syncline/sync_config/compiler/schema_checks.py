"""Warns of tables and columns that the source does not have, with the closest name that it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from syncline.sync_config.plan import TablePattern
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.schema import SourceSchema
from syncline.sync_config.source_text import ProblemList, Span

__all__ = ["ColumnReference", "TableReference", "check_references"]

COLUMNS_SHOWN_MAX = 20  # columns of a table that a hint lists


@dataclass(frozen=True, slots=True)
class ColumnReference:
    """A column that a query names, and where."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class TableReference:
    """A table that a query reads, with the columns that it names there; spans are of the document."""

    pattern: TablePattern
    span: Span
    columns: tuple[ColumnReference, ...]


def check_references(references: Iterable[TableReference], schema: SourceSchema, problems: ProblemList) -> None:
    """Add a warning to `problems` for each table and column that is unknown."""
    for reference in references:
        columns = schema.columns_of(reference.pattern)
        if columns is None:
            _unknown_table(reference, schema, problems)
            continue
        for column in reference.columns:
            if column.name not in columns:
                _unknown_column(column, columns, problems)


def _unknown_table(reference: TableReference, schema: SourceSchema, problems: ProblemList) -> None:
    closest = schema.closest_table(reference.pattern)
    hint = f"Did you mean {closest}?" if closest else "Create it, or check the name: unquoted names are folded."
    message = f'The source has no table "{reference.pattern.schema}.{reference.pattern.name}"'
    problems.warn(ProblemKind.UNKNOWN_TABLE, message, reference.span, hint=hint)


def _unknown_column(column: ColumnReference, columns: frozenset[str], problems: ProblemList) -> None:
    close = get_close_matches(column.name, columns, 1)
    hint = f"Did you mean {close[0]}?" if close else f"It has {', '.join(sorted(columns)[:COLUMNS_SHOWN_MAX])}."
    problems.warn(ProblemKind.UNKNOWN_COLUMN, f'The table has no column "{column.name}"', column.span, hint=hint)
