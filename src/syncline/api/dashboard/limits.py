"""Limits of the dashboard, each with its unit and reason."""

from __future__ import annotations

__all__ = [
    "CLIENTS_SHOWN_MAX",
    "ERRORS_KEPT",
    "ERROR_CHARACTERS_MAX",
    "OVERVIEW_FRESH_S",
    "PREVIEW_USERS_MAX",
    "REQUESTS_QUEUED_MAX",
    "REQUESTS_RUNNING_MAX",
    "ROWS_NAMED_MAX",
    "SAMPLES_KEPT",
    "TAILS_MAX",
    "TAIL_CLOSE_S",
    "TAIL_OPS_MAX",
    "TAIL_STUCK_S",
    "TAIL_S_MAX",
]

REQUESTS_RUNNING_MAX, REQUESTS_QUEUED_MAX = 4, 8  # requests of dashboards, over all administrators of a process
OVERVIEW_FRESH_S = 1.5  # seconds that an overview holds for all who ask: each new one asks the source three things
CLIENTS_SHOWN_MAX = 500  # clients of one answer
ERRORS_KEPT = 200  # warnings and errors of the process that can be shown
ERROR_CHARACTERS_MAX = 2000  # characters of one of them
PREVIEW_USERS_MAX = 20  # users of one preview
ROWS_NAMED_MAX = 100  # rows that a preview names, of a user and of a kind; their counts are exact
SAMPLES_KEPT = 60  # looks at a copy from which its end is estimated: five minutes at one look in five seconds
TAILS_MAX = 4  # open tails of a process: each is a stream
TAIL_S_MAX = 600.0  # seconds of one tail
TAIL_STUCK_S = 60.0  # seconds beyond it after which a page that takes nothing loses its tail
TAIL_CLOSE_S = 1.0  # seconds that the end of a broken-off tail may take
TAIL_OPS_MAX = 10_000  # operations of one tail: it is for eyes
