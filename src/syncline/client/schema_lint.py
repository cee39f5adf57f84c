"""Advice about a schema: what is possible, and will surprise somebody later. Pure, no I/O."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from syncline.client.schema import Column, ColumnType, Schema, Table
from syncline.client.schema_columns import PLAIN
from syncline.client.schema_raw import RawTable

__all__ = ["LintRule", "SchemaNote", "Severity", "lint_schema"]

_JOIN_IDS_MIN = 2  # columns that name other rows, from which a table joins them
_TRUTH_PREFIXES = ("is_", "has_", "can_")


class Severity(enum.StrEnum):
    """How much a note matters."""

    WARNING = "warning"  # data can become wrong, or an option does nothing
    NOTE = "note"  # worth knowing


class LintRule(enum.StrEnum):
    """What a note is about."""

    JOIN_TABLE_NOT_UNIQUE = "join-table-not-unique"  # two devices can write the same pair
    REFERENCE_NOT_INDEXED = "reference-not-indexed"  # finding the children of a row reads all of them
    REFERENCE_NOT_ENFORCED = "reference-not-enforced"  # there are no foreign keys on the device
    OPTION_WITHOUT_EFFECT = "option-without-effect"
    TIME_AS_NUMBER = "time-as-number"
    TRUTH_AS_TEXT = "truth-as-text"
    RAW_NOT_CAPTURED = "raw-not-captured"
    RAW_NOT_CLEARED = "raw-not-cleared"


@dataclass(frozen=True, slots=True)
class SchemaNote:
    """One piece of advice: where, what, and what to do."""

    rule: LintRule
    severity: Severity
    table: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.table}: {self.message} {self.hint} [{self.rule}]"


def lint_schema(schema: Schema) -> tuple[SchemaNote, ...]:
    """Advice for every table, in the order of the schema; nothing for a schema that needs none.

    >>> for note in lint_schema(SCHEMA):
    ...     print(note)
    """
    notes: list[SchemaNote] = []
    for table in schema.tables:
        notes += _join_table(table)
        notes += _references(table, schema)
        notes += _values(table)
        notes += _options(table)
    for raw in schema.raw_tables:
        notes += _raw(raw)
    return tuple(notes)


def _join_table(table: Table) -> Iterator[SchemaNote]:
    ids = [column.name for column in table.columns if column.name.endswith("_id")]
    if table.local_only or table.insert_only or len(ids) < _JOIN_IDS_MIN or 2 * len(ids) < len(table.columns):
        return
    pairs = [{key.column.name for key in index.columns} for index in table.indexes]
    if any(len(pair & set(ids)) >= _JOIN_IDS_MIN for pair in pairs):
        return
    both = ", ".join(ids[:_JOIN_IDS_MIN])
    yield SchemaNote(
        LintRule.JOIN_TABLE_NOT_UNIQUE,
        Severity.WARNING,
        table.name,
        f"It joins rows by {both}, and has no index over them.",
        f"A row's key is its id alone: keep the id, put UNIQUE ({both}) on the table in the source, and an index over both here. "
        "Or make the id of both, so that two devices write the same row.",
    )


def _references(table: Table, schema: Schema) -> Iterator[SchemaNote]:
    first = {index.columns[0].column.name for index in table.indexes}
    for column in table.columns:
        target = _referenced(column, schema)
        if target is None:
            continue
        if column.name not in first and not table.insert_only:
            yield SchemaNote(
                LintRule.REFERENCE_NOT_INDEXED,
                Severity.NOTE,
                table.name,
                f"{column.name} names rows of {target}, and no index begins with it.",
                f'Add indexes={{"by_{column.name.removesuffix("_id")}": ["{column.name}"]}} where the app looks rows up by it.',
            )
        yield SchemaNote(
            LintRule.REFERENCE_NOT_ENFORCED,
            Severity.NOTE,
            table.name,
            f"{column.name} names rows of {target}; on the device nothing enforces it.",
            "A foreign key in the source is fine. Delete a row and its children in one transaction.",
        )


def _referenced(column: Column, schema: Schema) -> str | None:
    """`list_id` names rows of `list`, `lists` or `listes`; None where the schema has none of them."""
    if not column.name.endswith("_id"):
        return None
    stem = column.name.removesuffix("_id").lower()
    plurals = {stem, f"{stem}s", f"{stem}es", f"{stem.removesuffix('y')}ies"}
    return next((table.name for table in schema.tables if table.name.lower() in plurals), None)


def _values(table: Table) -> Iterator[SchemaNote]:
    for column in table.columns:
        if column.codec is not PLAIN:
            continue
        if column.name.endswith("_at") and column.type is not ColumnType.TEXT:
            yield SchemaNote(
                LintRule.TIME_AS_NUMBER,
                Severity.NOTE,
                table.name,
                f"{column.name} looks like a time and is {column.type}.",
                f'Times of Postgres arrive as ISO 8601 text: Column.datetime("{column.name}").',
            )
        if column.name.startswith(_TRUTH_PREFIXES) and column.type is ColumnType.TEXT:
            yield SchemaNote(
                LintRule.TRUTH_AS_TEXT,
                Severity.NOTE,
                table.name,
                f"{column.name} looks like a boolean and is TEXT.",
                f'Booleans of Postgres arrive as 0 and 1: Column.boolean("{column.name}").',
            )


def _options(table: Table) -> Iterator[SchemaNote]:
    useless: list[str] = []
    if table.insert_only:
        useless += ["indexes"] if table.indexes else []
        useless += ["track_previous"] if table.previous_columns else []
        useless += ["ignore_empty_updates"] if table.ignore_empty_updates else []
        why = "rows of an insert-only table are sent and not kept"
    elif table.local_only:
        useless += ["ignore_empty_updates"] if table.ignore_empty_updates else []
        why = "writes to a local-only table are never sent"
    else:
        if table.track_previous_only_when_changed and not table.previous_columns:
            useless.append("track_previous_only_when_changed")
        why = "nothing is tracked without track_previous"
    for option in useless:
        yield SchemaNote(
            LintRule.OPTION_WITHOUT_EFFECT,
            Severity.WARNING,
            table.name,
            f"{option} does nothing: {why}.",
            "Leave it out.",
        )


def _raw(table: RawTable) -> Iterator[SchemaNote]:
    if not table.capture:
        yield SchemaNote(
            LintRule.RAW_NOT_CAPTURED,
            Severity.NOTE,
            table.name,
            "Local writes to this raw table are not sent.",
            "Set capture=True where the app writes to it.",
        )
    if table.clear is None:
        yield SchemaNote(
            LintRule.RAW_NOT_CLEARED,
            Severity.WARNING,
            table.name,
            "Its rows stay when the database is cleared, for instance for another user.",
            f'Give it clear="DELETE FROM {table.table_name}".',  # noqa: S608 - text for people
        )
