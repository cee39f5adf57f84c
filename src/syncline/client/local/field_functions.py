"""The SQL functions and virtual tables of the field's clients, for files and triggers that use them (client SQLite reference, 4, 5).

Our own views need none of these. But an app's own triggers on raw tables insert into `powersync_crud`, as the field's documentation
tells; files of older clients drop their views with `powersync_drop_view`. On our writing connection both work.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from weakref import ref

import apsw

from syncline.client.local.crud_tables import register_crud_tables
from syncline.client.local.json_text import changed_values, decode_object, encode_compact, merge_objects
from syncline.client.local.local_connection import LocalConnection
from syncline.client.local.raw_capture import create_capture_trigger
from syncline.client.local.sql_text import quote_identifier
from syncline.client.local.subkeys import plain_key
from syncline.client.schema_raw import RawTable

__all__ = ["register_field_functions"]


def register_field_functions(connection: LocalConnection) -> None:
    """Add everything to a connection that was just opened."""
    owner = ref(connection)  # the functions must not keep their own connection alive

    def drop_view(name: str) -> None:
        _of(owner).execute(f"DROP VIEW IF EXISTS {quote_identifier(name)}")

    def create_trigger(table: str, trigger: str, event: str) -> None:
        create_capture_trigger(_of(owner), RawTable.from_json(json.loads(table)), trigger, event)

    functions: tuple[tuple[str, Callable[..., Any], int, bool], ...] = (
        ("powersync_strip_subtype", _strip, 1, True),
        ("powersync_diff", _diff, 2, True),
        ("powersync_json_merge", _merge, -1, True),
        ("powersync_remove_duplicate_key_encoding", plain_key, 1, True),
        ("powersync_in_sync_operation", lambda: int(_of(owner).in_sync), 0, False),
        ("powersync_drop_view", drop_view, 1, False),
        ("powersync_create_raw_table_crud_trigger", create_trigger, 3, False),
    )
    for name, function, arguments, deterministic in functions:
        connection.create_scalar_function(name, function, arguments, deterministic=deterministic)  # pyright: ignore[reportArgumentType] - called with that many
    register_crud_tables(connection)


def _of(owner: ref[LocalConnection]) -> LocalConnection:
    connection = owner()
    assert connection is not None
    return connection


def _strip(value: apsw.SQLiteValue) -> apsw.SQLiteValue:
    return value  # what comes out of a function has no JSON subtype any more


def _diff(old: str, new: str) -> str:
    return encode_compact(changed_values(decode_object(old), decode_object(new)))


def _merge(*texts: str) -> str:
    return merge_objects(texts)
