"""The tables that the suite writes to: made once for a database, emptied before each test."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["EMPTIED", "table_statements"]

_TABLES = (
    """CREATE TABLE lists (
      id {key} PRIMARY KEY, name {text} NOT NULL, note {text} DEFAULT 'none', slug {key} UNIQUE, stars integer,
      parent_id {key}, owner_id {key},
      CONSTRAINT few_stars CHECK (stars < 6), CONSTRAINT known_parent FOREIGN KEY (parent_id) REFERENCES lists (id))""",
    "CREATE TABLE {odd_table} (id {key} PRIMARY KEY, {odd_column} {text})",
    "CREATE TABLE boards (id {uuid} PRIMARY KEY, owner_id {key}, org_id bigint, name {text})",
    "CREATE TABLE {parents} (id {key} PRIMARY KEY, board_id {uuid}, name {text})",
    "CREATE TABLE todos (id {key} PRIMARY KEY, list_id {key}, name {text})",
    """CREATE TABLE notes (
      id {key} PRIMARY KEY, org_id bigint, name {text}, body {text} DEFAULT 'empty', made_by {text} DEFAULT 'server',
      deleted_at {time}, gone {flag} NOT NULL DEFAULT {false}, device_id {key})""",
    """CREATE TABLE documents (
      id {key} PRIMARY KEY, owner_id {key} NOT NULL, title {text}, version bigint, modified_at {time}, quantity {number},
      tags {list}, settings {json}, done {flag}, ratio {real}, local_time {plain_time}, payload {blob})""",
    """CREATE TABLE write_conflicts (
      id {key} PRIMARY KEY, user_id {key} NOT NULL, table_name {key} NOT NULL, row_id {key} NOT NULL,
      conflict_type {key} NOT NULL, client_data {text} NOT NULL, server_data {text} NOT NULL, resolved {flag} NOT NULL,
      created_at {time})""",
    "CREATE TABLE effects (id {key})",
    "CREATE TABLE changing (id {key} PRIMARY KEY, name {text})",
)
EMPTIED = (
    *("lists", "{odd_table}", "todos", "{parents}", "boards", "notes", "documents", "write_conflicts", "effects"),
    *("types", "changing", "syncline_uploads"),
)
"""The tables of the suite, and of the verdicts."""


def table_statements(names: Mapping[str, str]) -> list[str]:
    """CREATE TABLE statements in the words of one database."""
    return [statement.format(**names) for statement in _TABLES]
