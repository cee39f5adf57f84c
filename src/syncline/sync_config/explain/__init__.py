"""PURE: why a row is (or is not) in a bucket, why a user has (or does not have) it, and whether a user sees a row.

`explain_row` and `explain_connection` tell what the evaluators and a sync session do, step by step; `explain_visibility` joins the
two. Every result is a frozen dataclass of plain fields, has `lines()` for people and `to_json()` for programs. Nothing here is
for the hot path. How to read the results: docs/reference/explain.md.
"""

from __future__ import annotations

from syncline.sync_config.explain.connection_explanation import ConnectionExplanation
from syncline.sync_config.explain.connections import ConnectionQuery, explain_connection
from syncline.sync_config.explain.parts import Explained
from syncline.sync_config.explain.row_explanation import RowExplanation, RowOutcome
from syncline.sync_config.explain.rows import SourceTableName, explain_row
from syncline.sync_config.explain.sql_text import sql_text
from syncline.sync_config.explain.visibility import explain_visibility
from syncline.sync_config.explain.visibility_explanation import Likeness, ObstacleKind, VisibilityExplanation

__all__ = [
    "ConnectionExplanation",
    "ConnectionQuery",
    "Explained",
    "Likeness",
    "ObstacleKind",
    "RowExplanation",
    "RowOutcome",
    "SourceTableName",
    "VisibilityExplanation",
    "explain_connection",
    "explain_row",
    "explain_visibility",
    "sql_text",
]
