"""The rules of `check schema`, each a function from an alignment to findings. Pure. Why each matters: docs/howto/check-schema.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from syncline.cli.schema_check.alignment import Alignment, SyncedQuery
from syncline.cli.schema_check.findings import Finding, Rule, Severity
from syncline.cli.schema_generation.model import ValueTypes

__all__ = ["RULES", "schema_findings"]

_JOIN_IDS_MIN = 2  # columns that name other rows, from which a table joins them


def schema_findings(alignment: Alignment) -> tuple[Finding, ...]:
    """All findings, rule after rule, each once."""
    return tuple(dict.fromkeys(finding for rule in RULES for finding in rule(alignment)))


def table_not_on_device(alignment: Alignment) -> Iterator[Finding]:
    """Rows arrive and no table of the app shows them: they take space on the device, and nothing says so."""
    for table in alignment.synced:
        found = alignment.device_table(table.name)
        if found is None or found.local_only:
            why = "is local-only on the device" if found else "is not in the device's schema"
            hint = f"Add {table.name} to the schema, or take it out of the sync config."
            yield _drift(Rule.TABLE_NOT_ON_DEVICE, table.name, "", f"it is synced and {why}.", hint)


def table_not_synced(alignment: Alignment) -> Iterator[Finding]:
    """A table that stays empty, and whose local rows vanish once they are uploaded."""
    for table in alignment.device:
        if table.local_only or table.insert_only or alignment.synced_table(table.name):
            continue
        hint = "Add it to a stream; a table that never leaves the device is local_only, one that is only written insert_only."
        yield _drift(Rule.TABLE_NOT_SYNCED, table.name, "", "no stream syncs it: it stays empty.", hint)


def table_not_in_source(alignment: Alignment) -> Iterator[Finding]:
    """A query of a table that the source does not have sends nothing."""
    for query in alignment.queries if alignment.source else ():
        if not alignment.sources_of(query):
            message = f'stream "{query.stream}" reads {query.pattern.schema}.{query.pattern.name}, which the source does not have.'
            yield _drift(Rule.TABLE_NOT_IN_SOURCE, query.table, "", message, "Create the table, or mend its name.")


def column_not_on_device(alignment: Alignment) -> Iterator[Finding]:
    """A column that is downloaded and that no view shows."""
    for table, synced in alignment.pairs():
        known = {column.name.lower() for column in table.columns}
        for column in synced.columns if not table.insert_only else ():
            if column.types != ValueTypes.BLOB and column.name.lower() not in known:
                hint = f"Add Column.{column.kind}({column.name!r}) to the schema, or do not select it."
                message = "it is synced and the device's schema does not have it."
                yield _drift(Rule.COLUMN_NOT_ON_DEVICE, table.name, column.name, message, hint)


def column_never_arrives(alignment: Alignment) -> Iterator[Finding]:
    """A column that is NULL for ever on the device, and whose local value vanishes after its upload."""
    for table, synced in alignment.pairs():
        selected = {column.name.lower(): column for column in synced.columns}
        for column in table.columns if not table.insert_only else ():
            found = selected.get(column.name.lower())
            if found is not None and found.types == ValueTypes.BLOB:  # left out of the row (sync config reference, 2.1)
                message = "its bytes are left out of what is sent: it is NULL on the device for ever."
                hint = f"SELECT base64({column.name}) AS {column.name}, and decode it on the device."
                yield _drift(Rule.COLUMN_NEVER_ARRIVES, table.name, column.name, message, hint)
            if found is not None:
                continue
            where = _source_has(alignment, table.name, column.name)
            message = "no query sends it: it is NULL on the device for ever."
            hint = (
                f"Select {column.name} in the stream: {where} has it."
                if where
                else "Take it out of the schema, or add it to the source and to the stream."
            )
            yield _drift(Rule.COLUMN_NEVER_ARRIVES, table.name, column.name, message, hint)


def type_differs(alignment: Alignment) -> Iterator[Finding]:
    """The view casts what arrives to the type that it declares: text that is read as an integer is 0."""
    if alignment.source is None:
        return
    for table, synced in alignment.pairs():
        sent = {column.name.lower(): column for column in synced.columns}
        for column in table.columns:
            arriving = sent.get(column.name.lower())
            # Values of several types, as from JSON, fit none better than another.
            if arriving is None or column.kind is None or arriving.types not in tuple(ValueTypes):
                continue
            if arriving.kind is not column.kind:
                declared = f" ({arriving.declared} in the source)" if arriving.declared else ""
                message = f"it is {column.kind} on the device, and {arriving.kind} arrives{declared}."
                hint = f"Declare it as Column.{arriving.kind}({column.name!r}), or CAST it in the stream."
                yield _drift(Rule.TYPE_DIFFERS, table.name, column.name, message, hint)


def null_differs(alignment: Alignment) -> Iterator[Finding]:
    """A device's row without a value that the source insists on is refused when it is uploaded. Owner columns are filled there."""
    if alignment.demands is None:
        return
    for table in alignment.device:
        if table.local_only:
            continue
        owners = alignment.owners_of(table.name)
        for column in table.columns:
            is_required = _is_required(alignment, table.name, column.name)
            if is_required and column.nullable and column.name.lower() not in owners:
                message = "the source takes no NULL and has no default, and the device takes NULL."
                hint = "Always write it on the device, give the source a default, or say --allow where the backend fills it."
                yield _advice(Rule.NULL_DIFFERS, table.name, column.name, message, hint)
            if is_required is False and not column.nullable:
                message = "the source takes NULL, and the device's table does not: such a row stops the download."
                yield _drift(
                    Rule.NULL_DIFFERS, table.name, column.name, message, "Take NOT NULL off the device's table."
                )


def id_missing(alignment: Alignment) -> Iterator[Finding]:
    """Every row on a device is known by its id; a query without one sends nothing."""
    for query in alignment.queries:
        lowered = None if query.columns is None else {column.lower() for column in query.columns}
        sources = alignment.sources_of(query)
        without = [table.name for table in sources if "id" not in {column.name for column in table.columns}]
        if (lowered is not None and "id" not in lowered) or (lowered is None and without):
            message = f'stream "{query.stream}" sends its rows without an id.'
            hint = f"Select one as id, such as: SELECT {_key(query)} AS id, …"
            yield _drift(Rule.ID_MISSING, query.table, "id", message, hint)


def id_not_unique(alignment: Alignment) -> Iterator[Finding]:
    """Two rows of the source with one id are one row on the device: the last one wins."""
    for query in alignment.queries if alignment.demands else ():
        assert alignment.demands is not None
        for table in alignment.sources_of(query):
            has_id = "id" in {column.name for column in table.columns}
            unique = alignment.demands.unique.get((table.schema, table.name), ())
            if has_id and query.columns is None and frozenset({"id"}) not in unique:
                message = f"{table.schema}.{table.name} has no unique index over id alone."
                hint = f"ALTER TABLE {table.name} ADD UNIQUE (id); a primary key over more columns does not do."
                yield _advice(Rule.ID_NOT_UNIQUE, query.table, "id", message, hint)


def pair_not_unique(alignment: Alignment) -> Iterator[Finding]:
    """A table that joins others by two ids: two devices that are offline can write the same pair."""
    for query in alignment.queries if alignment.demands else ():
        assert alignment.demands is not None
        for table in alignment.sources_of(query):
            ids = [column.name for column in table.columns if column.name.endswith("_id")]
            others = [
                column.name for column in table.columns if column.name != "id" and not column.name.endswith("_id")
            ]
            if len(ids) < _JOIN_IDS_MIN or len(ids) <= len(others):
                continue
            unique = alignment.demands.unique.get((table.schema, table.name), ())
            if any(len(index & set(ids)) >= _JOIN_IDS_MIN for index in unique):
                continue
            both = ", ".join(ids[:_JOIN_IDS_MIN])
            message = f"it joins rows by {both}, and the source has no unique index over them."
            hint = f"Keep id as the key, and CREATE UNIQUE INDEX ON {table.name} ({both}); or make the id of both."
            yield _advice(Rule.PAIR_NOT_UNIQUE, query.table, "", message, hint)


RULES: tuple[Callable[[Alignment], Iterator[Finding]], ...] = (
    table_not_in_source,
    table_not_on_device,
    table_not_synced,
    id_missing,
    column_never_arrives,
    column_not_on_device,
    type_differs,
    null_differs,
    id_not_unique,
    pair_not_unique,
)
"""In the order in which findings are told."""


def _source_has(alignment: Alignment, table: str, column: str) -> str:
    """The table of the source that has a column of this name, though no query of the device's table selects it."""
    for query in alignment.queries_of(table):
        for source in alignment.sources_of(query):
            if column.lower() in {known.name.lower() for known in source.columns}:
                return f"{source.schema}.{source.name}"
    return ""


def _is_required(alignment: Alignment, table: str, column: str) -> bool | None:
    """Whether the source insists on a value; None where it does not have the column under this name."""
    assert alignment.demands is not None
    found: bool | None = None
    for query in alignment.queries_of(table):
        for source in alignment.sources_of(query):
            name = next((known.name for known in source.columns if known.name.lower() == column.lower()), None)
            if name is not None:
                found = bool(found) or (source.schema, source.name, name) in alignment.demands.required
    return found


def _key(query: SyncedQuery) -> str:
    named = sorted(column for column in query.columns or () if column.endswith("_id"))
    return named[0] if named else f"{query.pattern.name.rstrip('%s')}_id"


def _drift(rule: Rule, table: str, column: str, message: str, hint: str) -> Finding:
    return Finding(rule, Severity.DRIFT, table, column, message, hint)


def _advice(rule: Rule, table: str, column: str, message: str, hint: str) -> Finding:
    return Finding(rule, Severity.ADVICE, table, column, message, hint)
