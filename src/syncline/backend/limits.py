"""Limits of the backend toolkit, each with its unit and reason."""

from __future__ import annotations

__all__ = [
    "BODIES_BYTES_MAX",
    "BODY_BYTES_MAX",
    "BODY_SECONDS_MAX",
    "BODY_THREADS_MAX",
    "CLIENT_ID_CHARACTERS_MAX",
    "CLOSE_SECONDS_MAX",
    "CODES_LABELLED_MAX",
    "CONFLICT_ATTEMPTS_MAX",
    "DEAD_LETTERS_KEPT_DAYS",
    "DEAD_LETTERS_LISTED_BYTES_MAX",
    "DEAD_LETTERS_LISTED_MAX",
    "DEAD_LETTERS_MAX",
    "DEAD_LETTERS_PER_USER_MAX",
    "DEAD_LETTER_BYTES_PER_USER_MAX",
    "DEAD_LETTER_DETAILS_BYTES_MAX",
    "DEAD_LETTER_REPEAT_HOURS",
    "DELETE_BODY_BYTES_MAX",
    "DEVICES_COUNTED_MAX",
    "FAILURES_COUNTED_PER_USER_MAX",
    "GROUP_ROWS_MAX",
    "HOOKS_RUNNING_MAX",
    "HOOK_SECONDS_MAX",
    "JSON_DEPTH_MAX",
    "MAPPED_OPERATIONS_MAX",
    "NAME_CHARACTERS_SHOWN_MAX",
    "PIPELINE_WRITES_MAX",
    "POOL_CONNECTIONS_MAX",
    "PREPARED_STATEMENTS_MAX",
    "REQUESTS_PER_SECOND_MAX",
    "REQUEST_BURST_MAX",
    "RETRY_AFTER_MS",
    "ROW_ID_CHARACTERS_MAX",
    "STAGED_APPLIED_AT_ONCE_MAX",
    "STAGED_BYTES_PER_USER_MAX",
    "STAGED_CONNECTIONS_MAX",
    "STAGED_IDLE_MINUTES",
    "STAGED_KEPT_HOURS",
    "STAGED_LEASE_SECONDS",
    "STAGED_PARTS_MAX",
    "STAGED_PART_BYTES",
    "STAGED_SECONDS_MAX",
    "STAGED_UPLOADS_PER_USER_MAX",
    "TABLES_LOGGED_MAX",
    "TRANSACTION_SECONDS_MAX",
    "UNKNOWN_FAILURES_MAX",
    "UNKNOWN_RETRY_FACTOR",
    "UPLOADS_AT_ONCE_MAX",
    "UPLOADS_BETWEEN_PRUNINGS",
    "UPLOADS_KEPT_DAYS",
    "UPLOADS_KEPT_MAX",
    "USERS_RATED_MAX",
    "WRITE_RESULT_OPERATIONS_MAX",
    "WRITE_SHAPES_MAX",
]

BODIES_BYTES_MAX = 256 * 1024 * 1024  # bytes of all bodies that are in memory at a time: 16 of the largest
BODY_BYTES_MAX = 16 * 1024 * 1024  # bytes of one upload: 50 transactions of a busy device, and room for one large row
BODY_SECONDS_MAX = 60.0  # seconds for a body to arrive: 16 MiB over a line of 2 Mbit/s
BODY_THREADS_MAX = 32  # threads of the Django face that read bodies; more slow senders wait for each other
CLIENT_ID_CHARACTERS_MAX = 200  # characters of a client id; ours are UUIDs, and an index row has room for 2,700 bytes
CLOSE_SECONDS_MAX = 10.0  # seconds for a backend in a thread to finish when the process ends
CODES_LABELLED_MAX = 100  # different error codes in the metrics, the app's own among them; the rest is "other"
CONFLICT_ATTEMPTS_MAX = 5  # attempts at a transaction that the database ended for a conflict (40001, 40P01)
DEAD_LETTERS_KEPT_DAYS = 30  # days that a settled letter is kept; an open one stays until somebody settles it
DEAD_LETTERS_LISTED_BYTES_MAX = 16 * 1024 * 1024  # bytes of the transactions of one page; one letter may be as large
DEAD_LETTERS_LISTED_MAX = 100  # letters of one page
DEAD_LETTERS_MAX = 100_000  # open letters of all users; one device that keeps failing cannot take them all
DEAD_LETTERS_PER_USER_MAX = 1_000  # open letters of one user; more mean an app that does nothing but fail
DEAD_LETTER_BYTES_PER_USER_MAX = 256 * 1024 * 1024  # bytes of one user's open letters: 16 of the largest uploads
DEAD_LETTER_DETAILS_BYTES_MAX = 64 * 1024  # bytes of a verdict's details as JSON; a letter leaves longer ones out
DEAD_LETTER_REPEAT_HOURS = 24  # hours in which a refused transaction without ids counts as a repeat of the same content
DELETE_BODY_BYTES_MAX = 64 * 1024  # bytes of a DELETE that names its row in a body, as connectors of demos send it
DEVICES_COUNTED_MAX = 10_000  # devices whose stored verdicts one process counts; then it begins anew
FAILURES_COUNTED_PER_USER_MAX = 1_000  # transactions of one user whose failures of unknown cause are remembered
GROUP_ROWS_MAX = 1_000  # rows that one statement writes; more gain nothing, and their values are in memory twice
HOOKS_RUNNING_MAX = 1_000  # hooks that run behind answers at a time; more are left out, and logged
HOOK_SECONDS_MAX = 5.0  # seconds for a hook or callback that an answer waits for, or that runs behind it
MAPPED_OPERATIONS_MAX = 10_000  # operations that a mapper makes of one transaction: as many as a request may have
JSON_DEPTH_MAX = (
    32  # levels of lists and objects in one value; columns hold texts and numbers, JSON columns a little more
)
NAME_CHARACTERS_SHOWN_MAX = 63  # characters of an unknown name that a message repeats; a name in Postgres has no more
PIPELINE_WRITES_MAX = 500  # writes of one pipeline: planning them holds the event loop for some 10 ms
POOL_CONNECTIONS_MAX = 8  # database connections of one process
REQUESTS_PER_SECOND_MAX = 200.0  # requests a second of one user, over time: one device sends one upload after the other
REQUEST_BURST_MAX = 2_000  # requests of one user at once: a long queue of an app that sends row by row
PREPARED_STATEMENTS_MAX = 100  # statements prepared on one connection; the least used is given up for another
RETRY_AFTER_MS = 1000  # milliseconds that a client should wait after an error that may pass
ROW_ID_CHARACTERS_MAX = 1_000  # characters of a row's id; a UUID has 36, an id made of several columns a few hundred
STAGED_APPLIED_AT_ONCE_MAX = 2  # staged uploads that one process applies at a time; each holds a database connection
STAGED_BYTES_PER_USER_MAX = 1024 * 1024 * 1024  # bytes of one user's staged parts: an import, not a way to store files
STAGED_CONNECTIONS_MAX = 4  # database connections of one process for staged parts, beside those of the persister
STAGED_IDLE_MINUTES = 10  # minutes without a new part after which another upload of the same user may take the place
STAGED_KEPT_HOURS = 24  # hours without a request after which a staged upload is dropped, its verdict too
STAGED_LEASE_SECONDS = 60.0  # seconds after which another process may go on with an upload whose process has died
STAGED_PARTS_MAX = 10_000  # parts of one upload
STAGED_PART_BYTES = 4 * 1024 * 1024  # bytes that a part should have: what a process holds of an upload at a time
STAGED_SECONDS_MAX = 900.0  # seconds for the database transaction of one staged upload
STAGED_UPLOADS_PER_USER_MAX = (
    4  # unfinished staged uploads of one user: one of each device, of which few import at once
)
TABLES_LOGGED_MAX = 20  # names of tables in one line of the log
TRANSACTION_SECONDS_MAX = 30.0  # seconds for one client transaction: a silent database must not hold the device
UNKNOWN_FAILURES_MAX = 5  # failures of unknown cause that a device repeats; the next one is a refusal, kept as a letter
UNKNOWN_RETRY_FACTOR = 4  # by which it waits longer after each: 1, 4, 16, 64, 256 s, time for somebody to mend it
UPLOADS_AT_ONCE_MAX = 100  # uploads that are applied or wait for a database connection, of which there are eight
UPLOADS_BETWEEN_PRUNINGS = 100  # verdicts that a device stores until its surplus is dropped: so many more may be kept
UPLOADS_KEPT_DAYS = 30  # days that the verdict over an upload is kept; a device that repeats one later applies it again
UPLOADS_KEPT_MAX = 1_000  # verdicts kept of one device, the last ones; it repeats those of its last request, 50 at most
USERS_RATED_MAX = 10_000  # users whose request rate is remembered: about 200 bytes each
WRITE_SHAPES_MAX = 1_000  # kinds of writes (operation, table, columns) whose statement is remembered
WRITE_RESULT_OPERATIONS_MAX = 100  # operations that a row of powersync_write_results names
