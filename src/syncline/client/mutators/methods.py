"""The property of the database by which an app calls mutators."""

from __future__ import annotations

from syncline.client.database_queries import QueryMethods
from syncline.client.mutators.registry import Mutators

__all__ = ["MutatorMethods"]


class MutatorMethods(QueryMethods):
    """`db.mutators`, and what it needs of the database."""

    _mutators: Mutators | None = None

    @property
    def mutators(self) -> Mutators:
        """Procedures of the backend that are called through the upload queue (docs/howto/mutators.md)."""
        if self._mutators is None:
            self._mutators = Mutators(self.run, lambda: self._schema)
        return self._mutators
