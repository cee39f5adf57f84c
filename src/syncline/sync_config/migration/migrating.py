"""`migrate_to_streams`: reads sync rules, writes streams, and compiles what it wrote before anybody sees it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncline.errors import SyncConfigError
from syncline.sync_config.compiled_plan import compile_sync_config
from syncline.sync_config.compiler.legacy.definitions import compile_definitions
from syncline.sync_config.document import ConfigDocument, DefinitionDocument, parse_document
from syncline.sync_config.migration.comments import CommentsByName, comments_by_name
from syncline.sync_config.migration.definitions import DefinitionWriter
from syncline.sync_config.migration.document_text import StreamEntry, block, comment_lines, key_text, query_scalar
from syncline.sync_config.migration.notes import Migration, MigrationNote, Remarks, definition_notes
from syncline.sync_config.migration.refusal import CannotMigrate
from syncline.sync_config.options import ConfigOptions
from syncline.sync_config.problems import Problem, Severity
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.schema import SourceSchema
from syncline.sync_config.source_text import ProblemList, SourceText

__all__ = ["migrate_to_streams"]

LATEST_EDITION = 3


def migrate_to_streams(text: str, *, schema: SourceSchema | None = None) -> Migration:
    """The sync config with its `bucket_definitions` written as streams of edition 3, which give every user the same rows.

    With `schema`, `*` is spelled out where a table has columns that begin with `_`, which only streams would sync. A config that has
    edition 3 already is given back as it is. Raises SyncConfigError where the config does not compile, and where a definition cannot be
    written as streams: its problems say which query, and what to change in it first.
    """
    compile_sync_config(text)
    problems = ProblemList(SourceText(text))
    document = parse_document(text, problems)
    if document.options.edition == LATEST_EDITION:
        return Migration(text, (MigrationNote("", 1, "The config has edition 3 already; nothing was changed."),))
    migration = _Migrator(text, document, problems, schema).migrate()
    if problems.any_fatal:
        raise SyncConfigError([problem for problem in problems.in_order() if problem.severity is Severity.FATAL])
    compile_sync_config(migration.text)
    return migration


class _Migrator:
    """Writes the new document of one config."""

    def __init__(self, text: str, document: ConfigDocument, problems: ProblemList, schema: SourceSchema | None) -> None:
        self._document = document
        self._problems = problems
        self._schema = schema
        self._refused: set[QueryText] = set()
        self._comments = _comments(text, document)
        self._header = ["config:", *block(_options(document.options))]

    def migrate(self) -> Migration:
        """The new document; what cannot be migrated is added to the problems."""
        streams, sources = compile_definitions(self._document, self._problems)
        warned = self._problems.in_order()
        entries: list[StreamEntry] = []
        notes = list(_option_notes(self._document.options))
        names = [definition.name for definition in self._document.definitions]
        for definition, stream in zip(self._document.definitions, streams, strict=True):
            remarks = Remarks()
            fixed_json = self._document.options.fixed_json_extract
            writer = DefinitionWriter(definition, stream, sources[definition.name], fixed_json, self._schema, remarks)
            found = writer.streams(names, self._comments.get(definition.name, []), self._check, self._refuse)
            self._check_together(definition, found)
            entries += found
            names += [entry.name for entry in found]
            line = self._problems.source.line_of(definition.name_span[0])
            known = {problem.kind for problem in warned if problem.line in self._lines_of(definition)}
            told = definition_notes(remarks, [entry.name for entry in found], known)
            notes += [MigrationNote(definition.name, line, text) for text in told]
        return Migration(self._text(entries), tuple(notes))

    def _lines_of(self, definition: DefinitionDocument) -> range:
        """The lines of the document from a definition to the next."""
        line_of = self._problems.source.line_of
        first = line_of(definition.name_span[0])
        later = [line_of(other.name_span[0]) for other in self._document.definitions]
        return range(first, min((line for line in later if line > first), default=len(self._problems.source.text) + 2))

    def _check(self, sql: str) -> Sequence[Problem]:
        lines = [*self._header, "streams:", *block(["one:", *block(query_scalar("query:", sql))])]
        try:
            return compile_sync_config("\n".join(lines) + "\n").warnings
        except SyncConfigError as exc:
            problem: Problem = next(problem for problem in exc.problems if problem.severity is Severity.FATAL)
            message = f"This cannot be written as a stream: {problem.message[0].lower()}{problem.message[1:]}"
            hint = f"It would have to be: {' '.join(sql.split())}"
            raise CannotMigrate(message, hint=hint, kind=problem.kind) from None

    def _check_together(self, definition: DefinitionDocument, streams: Sequence[StreamEntry]) -> None:
        """Queries that are fine alone may be too many for one stream."""
        if self._problems.any_fatal or not streams:
            return
        try:
            compile_sync_config(self._text(streams))
        except SyncConfigError as exc:
            problem: Problem = next(problem for problem in exc.problems if problem.severity is Severity.FATAL)
            message = f"This cannot be written as a stream: {problem.message}"
            hint = "Split the definition: put some of its parameter queries into a copy of it."
            self._problems.fatal(problem.kind, message, definition.name_span, hint=hint)

    def _refuse(self, refusal: CannotMigrate, text: QueryText) -> None:
        """Once for each query, though several queries of the stream may be made from it."""
        if text not in self._refused:
            self._refused.add(text)
            self._problems.fatal(refusal.kind, refusal.message, text.span(), hint=refusal.hint)

    # The text

    def _text(self, entries: Sequence[StreamEntry]) -> str:
        lines = [*comment_lines(self._comments.get(None, [])), *self._header, ""]
        lines += ["streams: {}"] if not entries else ["streams:"]
        for number, entry in enumerate(entries):
            lines += [*([""] if number else []), *block(entry.lines())]
        return "\n".join([*lines, *self._events()]) + "\n"

    def _events(self) -> list[str]:
        """`event_definitions:`, whose queries mean the same in all editions."""
        lines: list[str] = []
        for event in self._document.events:
            payloads = [line for query in event.payloads for line in query_scalar("-", query.sql.strip())]
            entry = block(["payloads:", *block(payloads)] if payloads else ["payloads: []"])
            lines += block([f"{key_text(event.name)}:", *entry])
        return ["", "event_definitions:", *lines] if lines else []


def _comments(text: str, document: ConfigDocument) -> CommentsByName:
    names = [(definition.name, definition.name_span) for definition in document.definitions]
    queries = [query for definition in document.definitions for query in (*definition.parameters, *definition.data)]
    payloads = [query for event in document.events for query in event.payloads]
    return comments_by_name(text, names, [query.span() for query in (*queries, *payloads)])


_FLAGS = ("timestamps_iso8601", "fixed_json_extract", "custom_postgres_types")
"""Options that are on in edition 3 and decide what synced values look like. `versioned_bucket_ids` does not."""


def _flags_off(options: ConfigOptions) -> list[str]:
    return [name for name in _FLAGS if not getattr(options, name)]


def _options(options: ConfigOptions) -> list[str]:
    """The lines under `config:` that keep values as they are."""
    lines = [f"edition: {LATEST_EDITION}", *(f"{name}: false" for name in _flags_off(options))]
    if options.timestamp_max_precision is not None:
        lines.append(f"timestamp_max_precision: {options.timestamp_max_precision.name.lower()}")
    return lines


def _option_notes(options: ConfigOptions) -> Iterator[MigrationNote]:
    off = _flags_off(options)
    if off:
        text = f"{', '.join(off)}: off as before, so that synced values stay the same. Remove the lines to get those of new configs."
        yield MigrationNote("", 1, text)
