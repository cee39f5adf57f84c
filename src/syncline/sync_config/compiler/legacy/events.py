"""Event definitions: queries whose rows listeners hear of when they change (sync config reference, 9)."""

from __future__ import annotations

from syncline.sync_config.compiler.legacy.data_queries import bind_table_select
from syncline.sync_config.compiler.legacy.matching import alternatives_of
from syncline.sync_config.compiler.legacy.names import Parameters
from syncline.sync_config.compiler.legacy.reading import read_query
from syncline.sync_config.compiler.model import EventDefinition, EventPayload
from syncline.sync_config.document import ConfigDocument
from syncline.sync_config.query_text import QueryText
from syncline.sync_config.source_text import ProblemList
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["compile_events"]


def compile_events(document: ConfigDocument, problems: ProblemList) -> tuple[EventDefinition, ...]:
    """All event definitions, in the order of the document. Problems are added to `problems`."""
    return tuple(
        EventDefinition(
            event.name,
            tuple(
                payload
                for text in event.payloads
                if (payload := _payload(text, problems, fixed_json=document.options.fixed_json_extract)) is not None
            ),
        )
        for event in document.events
    )


def _payload(text: QueryText, problems: ProblemList, *, fixed_json: bool) -> EventPayload | None:
    try:
        select = read_query(text.sql)
        table = bind_table_select(select, Parameters.NONE, fixed_json=fixed_json)
        (alternative,) = alternatives_of(select.where, table.scalars)
    except SqlError as exc:
        problems.fatal(exc.kind, exc.message, text.span(exc.span), hint=exc.hint)
        return None
    assert table.names.pattern is not None
    return EventPayload(table.names.pattern, table.columns, alternative.row_filters)
