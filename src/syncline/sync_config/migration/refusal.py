"""What cannot be said in streams: raised where it is found, told with the place of the query by the caller."""

from __future__ import annotations

from syncline.sync_config.problems import ProblemKind

__all__ = ["CannotMigrate"]


class CannotMigrate(Exception):
    """A part of a query has no equal in streams. `hint` says what to change in the sync rules first."""

    def __init__(self, message: str, *, hint: str, kind: ProblemKind = ProblemKind.UNSUPPORTED_EXPRESSION) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.kind = kind
