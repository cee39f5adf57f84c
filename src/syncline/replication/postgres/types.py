"""PURE: what the catalog says of a type, as far as converting its texts needs it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["TypeInfo", "TypeKind"]


class TypeKind(enum.Enum):
    """How a type is built from others; the values are `pg_type.typtype`, but for arrays."""

    BASE = "b"
    ENUM = "e"
    DOMAIN = "d"
    COMPOSITE = "c"
    RANGE = "r"
    MULTIRANGE = "m"
    ARRAY = "array"


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A type. `inner` is the element of an array, the base of a domain, the subtype of a range, the range of a multirange."""

    oid: int
    name: str
    kind: TypeKind
    inner: int = 0
    delimiter: str = ","
    attributes: tuple[tuple[str, int], ...] = ()  # of a composite: name and type
    toastable: bool = False  # values may be stored out of line, and then left out of an update
