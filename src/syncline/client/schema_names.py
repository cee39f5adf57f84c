"""Which names tables, views, columns and indexes of the device can have (client SQLite reference, 4). Pure, no I/O."""

from __future__ import annotations

from syncline.errors import ClientError

__all__ = ["SchemaInvalid", "check_name", "check_not_reserved"]

_FORBIDDEN = frozenset("\"'%,.#[]")


class SchemaInvalid(ClientError):
    """A table, column or index that cannot exist on the device. The hint says what to write instead."""


def check_name(kind: str, name: str) -> None:
    """Raise SchemaInvalid for an empty name, and for characters with a meaning in SQL or in JSON paths."""
    if not name:
        raise SchemaInvalid(f"{kind}: the name is empty.", hint="Give it a name.")
    bad = sorted({character for character in name if character in _FORBIDDEN or character.isspace() or character < " "})
    if bad:
        raise SchemaInvalid(
            f'{kind} "{name}" has characters that a name cannot have: {" ".join(map(repr, bad))}.',
            hint="Quotes, % , . # [ ] and white space are not possible: they have a meaning in SQL or in JSON paths.",
        )


def check_not_reserved(kind: str, name: str) -> None:
    """`check_name`, and raise SchemaInvalid for names of internal tables."""
    check_name(kind, name)
    if name.lower().startswith(("ps_", "sqlite_")):
        raise SchemaInvalid(
            f'{kind} name "{name}" is reserved.', hint="Names that begin with ps_ or sqlite_ are internal."
        )
