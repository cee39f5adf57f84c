"""What a migration gives: the new config, and what a person should look at."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from syncline.sync_config.problems import ProblemKind

__all__ = ["Migration", "MigrationNote", "Remarks", "definition_notes"]


@dataclass(frozen=True, slots=True)
class MigrationNote:
    """Something to look at after a migration. `line` counts from 1 in the sync rules; `definition` is empty for the whole config."""

    definition: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f'line {self.line}, bucket definition "{self.definition}"' if self.definition else f"line {self.line}"
        return f"{place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Migration:
    """The YAML of the new config, which compiles, and the notes in the order of the sync rules."""

    text: str
    notes: tuple[MigrationNote, ...]


@dataclass(slots=True)
class Remarks:
    """What a person should be told of the queries that were written."""

    null_tests: bool = False  # `!=` needed tests for NULL
    array_tests: bool = False  # IN needed a test for arrays
    joined: bool = False  # the synchronised table is joined with another source
    star_unsure: bool = False  # `*` may have more columns than before
    overlapping: bool = False  # two data queries select the same rows with different columns
    warnings: dict[ProblemKind, str] = field(default_factory=dict[ProblemKind, str])  # what streams warn of


def definition_notes(remarks: Remarks, streams: Sequence[str], known: Collection[ProblemKind]) -> Iterator[str]:
    """What to say of one definition that became `streams`; `known` are the kinds of warnings that it had already."""
    if len(streams) > 1:
        yield f"Its parameter queries have different priorities: it became the streams {', '.join(streams)}."
    if remarks.null_tests:
        yield (
            "In sync rules != leaves out rows whose value is NULL, in streams it keeps them. IS NOT NULL beside it leaves them out as"
            " before; remove it where these rows should be synced."
        )
    if remarks.array_tests:
        yield (
            "(x IN json) IS TRUE tests for an array only, as sync rules did. Without IS TRUE, an object would count by its values and a"
            " single value by itself."
        )
    if remarks.star_unsure:
        yield (
            "In sync rules * leaves out columns whose names begin with _, in streams it has them. If the table has such columns, name"
            " the columns to sync in place of *."
        )
    if remarks.joined:
        yield "Several parameters come from one row, so that its table is joined: the rows that users get are the same."
    if remarks.overlapping:
        yield (
            "Several data queries select rows of one table with different columns. For a row that more than one of them selects, the"
            " last one decided in sync rules; in streams it can stand in several buckets, and it is not certain which decides."
        )
    for kind, message in remarks.warnings.items():
        if kind not in known:
            yield f"The new config has a warning that the sync rules did not have: {message}."
