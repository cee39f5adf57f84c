"""A private SQLite that evaluates expressions for configs with `unstable_sqlite_expression_engine`.

Contract: `syncline.sync_config.sqlite_expressions.ExpressionEngine`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import apsw

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.functions import FUNCTIONS
from syncline.sync_config.evaluation.values import EvaluationError

__all__ = ["SqliteExpressionEngine"]

STATEMENTS_MAX = 1_000  # prepared statements that are kept: expressions of a config beyond it are parsed anew each time
VALUE_BYTES_MAX = 64_000_000  # length of a text or blob, so that no expression grows a value without end

_OWN_FUNCTIONS = (
    "base64", "datetime", "json_keys", "lower", "st_asgeojson", "st_astext", "st_x", "st_y", "unixepoch", "upper", "uuid_blob",
)  # fmt: skip
"""Functions that SQLite lacks, or that mean something else there: case by ASCII alone, time with a clock and many more modifiers."""

_MESSAGES = (
    ("malformed JSON", "The text is not valid JSON"),
    ("bad JSON path", "A JSON path is not valid"),
    ("integer overflow", "A number does not fit into 64 bits"),
    ("string or blob too big", f"A value is longer than {VALUE_BYTES_MAX} bytes"),
)


class SqliteExpressionEngine:
    """Evaluates SQL expressions on one in-memory connection. Any thread may use it; they take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = apsw.Connection(":memory:", statementcachesize=STATEMENTS_MAX)
        self._connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
        self._connection.limit(apsw.SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)
        for name in _OWN_FUNCTIONS:
            self._connection.create_scalar_function(name, FUNCTIONS[name].evaluate, -1, deterministic=True)

    def prepare(self, sql: str) -> Callable[..., SyncValue]:
        """The function that computes an expression; its parameters are `?1` to `?n`."""
        query = f"SELECT {sql}"

        def evaluate(*inputs: SyncValue) -> SyncValue:
            with self._lock:
                return self._evaluate(query, inputs)

        return evaluate

    def _evaluate(self, query: str, inputs: tuple[SyncValue, ...]) -> SyncValue:
        try:
            return self._connection.execute(query, inputs).get
        except UnicodeDecodeError:  # a text of SQLite need not be valid UTF-8
            blob = self._connection.execute(f"SELECT CAST(({query}) AS BLOB)", inputs).get
            return bytes(blob).decode("utf-8", errors="replace")
        except UnicodeEncodeError:
            raise EvaluationError("A text is not valid Unicode") from None
        except OverflowError:
            raise EvaluationError("A number does not fit into 64 bits") from None
        except apsw.Error as exc:
            raise EvaluationError(_message(exc)) from None


def _message(error: apsw.Error) -> str:
    """What SQLite says, in words that hold no values: its own may quote them."""
    text = str(error)
    return next(
        (ours for theirs, ours in _MESSAGES if theirs in text), f"SQLite cannot evaluate it ({type(error).__name__})"
    )
