"""A query with the way back from its characters to the document's: YAML folds lines, strips indentation and reads escapes."""

from __future__ import annotations

from dataclasses import dataclass, field

from syncline.sync_config.source_text import Span
from syncline.sync_config.yaml_nodes import YamlScalar

__all__ = ["QueryText"]


@dataclass(frozen=True, slots=True)
class QueryText:
    """The SQL of a query. `places` has the document offset of each of its characters, and of its end."""

    sql: str
    places: tuple[int, ...] = field(repr=False)

    @classmethod
    def of(cls, scalar: YamlScalar, document: str) -> QueryText:
        """The query that a YAML scalar holds."""
        return cls(scalar.text, _places(scalar, document))

    @property
    def start(self) -> int:
        """Where the SQL begins in the document, blanks before it left out."""
        return self.span((len(self.sql) - len(self.sql.lstrip()), len(self.sql)))[0]

    def span(self, part: Span | None = None) -> Span:
        """Where a part of the SQL, or all of it, stands in the document."""
        start, end = (0, len(self.sql)) if part is None else part
        last = len(self.places) - 1
        first = self.places[min(start, last)]
        return (first, max(first, self.places[min(end, last)]))


def _places(scalar: YamlScalar, document: str) -> tuple[int, ...]:
    """Match the value's characters with the document's, in order; blanks may stand for any blanks."""
    start, end = scalar.span
    position = start
    if scalar.style in ("|", ">"):
        position = document.find("\n", start, end) + 1 or start
    elif scalar.style:
        position += 1
    places: list[int] = []
    for character in scalar.text:
        if character.isspace():
            places.append(min(position, end))
            if position < end and document[position].isspace():
                position += 1
            elif scalar.style == '"' and document.startswith("\\", position):
                position += 2
            continue
        found = document.find(character, position, end)
        if found >= 0:
            position = found
        places.append(min(position, end))
        position = min(position + 1, end)
    places.append(position)
    return tuple(places)
