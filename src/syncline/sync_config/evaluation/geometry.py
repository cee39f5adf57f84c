"""PostGIS geometries: EWKB to GeoJSON, text and coordinates (sync config reference, 5).

Read here rather than by a library: what there is either wraps native code or knows no limits, and the format is seven shapes.
A geometry is a byte order, a type with flags, an optional reference system, then numbers; ISO WKB's way to say Z and M is read too.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.evaluation.json_values import json_text
from syncline.sync_config.evaluation.values import EvaluationError, real_text

__all__ = ["Geometry", "parse_geometry", "st_asgeojson", "st_astext", "st_x", "st_y"]

NESTING_MAX = 20  # levels of geometries in each other
_FLAG_Z, _FLAG_M, _FLAG_REFERENCE_SYSTEM = 0x8000_0000, 0x4000_0000, 0x2000_0000
_ISO_MARKS = ("", "Z", "M", "ZM")  # by the thousands of an ISO type
_POINT, _LINE, _POLYGON, _COLLECTION = 1, 2, 3, 7
_NAMES = ("", "Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")
_EMPTY = "EMPTY"

Position = tuple[float, ...]
"""The numbers of one place: x, y, and z and m where the geometry has them."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """A geometry. `lines` are the rings of a polygon, the one line of a line string, or a line of one position or none: a point."""

    kind: int  # 1 to 7, an index of the names
    marks: str  # "", "Z", "M" or "ZM": what stands after x and y
    lines: tuple[tuple[Position, ...], ...] = ()
    members: tuple[Geometry, ...] = ()


def st_asgeojson(value: SyncValue) -> SyncValue:
    """`st_asgeojson(g)`: GeoJSON text; measures (m) are left out."""
    geometry = _geometry_of(value)
    return None if geometry is None else json_text(_geojson(geometry))


def st_astext(value: SyncValue) -> SyncValue:
    """`st_astext(g)`: well-known text."""
    geometry = _geometry_of(value)
    return None if geometry is None else _text(geometry)


def st_x(value: SyncValue) -> SyncValue:
    """`st_x(g)`: the first coordinate of a point; NULL for other geometries."""
    return _coordinate(value, 0)


def st_y(value: SyncValue) -> SyncValue:
    """`st_y(g)`: the second coordinate of a point."""
    return _coordinate(value, 1)


def _geometry_of(value: SyncValue) -> Geometry | None:
    """The geometry in a blob or hexadecimal text; None for NULL and for numbers."""
    if isinstance(value, str):
        try:
            return parse_geometry(bytes.fromhex(value))
        except ValueError:
            raise EvaluationError("The text is not a geometry") from None
    return parse_geometry(value) if isinstance(value, bytes) else None


def _coordinate(value: SyncValue, axis: int) -> SyncValue:
    geometry = _geometry_of(value)
    if geometry is None or geometry.kind != _POINT or not geometry.lines[0]:
        return None
    return geometry.lines[0][0][axis]


def parse_geometry(data: bytes) -> Geometry:
    """Read EWKB. Raises EvaluationError where the bytes are no geometry, or one nested deeper than NESTING_MAX."""
    try:
        return _Reader(data).geometry(0)
    except (struct.error, IndexError):
        raise EvaluationError("The value ends inside a geometry") from None


class _Reader:
    """Walks through the bytes. Each count that is read is held against the bytes that are left, so memory follows the value's size."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0
        self._order = "<"

    def geometry(self, depth: int) -> Geometry:
        if depth > NESTING_MAX:
            raise EvaluationError(f"A geometry is nested deeper than {NESTING_MAX} levels")
        order = "<" if self._data[self._offset] else ">"
        self._offset += 1
        self._order = order
        kind, marks = self._type()
        axes = 2 + len(marks)
        if kind == _POINT:
            (position,) = self._positions(1, axes)
            return Geometry(kind, marks, ((),) if all(math.isnan(axis) for axis in position) else ((position,),))
        count = self._count()
        if kind == _LINE:
            return Geometry(kind, marks, (self._positions(count, axes),))
        if kind == _POLYGON:
            return Geometry(kind, marks, tuple(self._positions(self._count(), axes) for _ in range(count)))
        members = tuple(self.geometry(depth + 1) for _ in range(count))
        if kind != _COLLECTION and any(member.kind != kind - 3 for member in members):
            raise EvaluationError("A geometry has members of another kind")
        return Geometry(kind, marks, members=members)

    def _type(self) -> tuple[int, str]:
        code = self._integer()
        if code & _FLAG_REFERENCE_SYSTEM:
            self._integer()
        thousands, kind = divmod(code & 0x0FFF_FFFF, 1000)
        if not 1 <= kind <= _COLLECTION or thousands >= len(_ISO_MARKS):
            raise EvaluationError("The value is no geometry, or of a kind that is not supported")
        flags = "Z" * bool(code & _FLAG_Z) + "M" * bool(code & _FLAG_M)
        return kind, flags or _ISO_MARKS[thousands]

    def _integer(self) -> int:
        (number,) = struct.unpack_from(f"{self._order}I", self._data, self._offset)
        self._offset += 4
        return number

    def _count(self) -> int:
        count = self._integer()
        if count > (len(self._data) - self._offset) // 4:  # nothing that is counted is shorter than its own count
            raise EvaluationError("The value ends inside a geometry")
        return count

    def _positions(self, count: int, axes: int) -> tuple[Position, ...]:
        numbers = struct.unpack_from(f"{self._order}{count * axes}d", self._data, self._offset)
        self._offset += count * axes * 8
        return tuple(numbers[start : start + axes] for start in range(0, len(numbers), axes))


def _geojson(geometry: Geometry) -> dict[str, object]:
    name = _NAMES[geometry.kind]
    if geometry.kind == _COLLECTION:
        return {"type": name, "geometries": [_geojson(member) for member in geometry.members]}
    return {"type": name, "coordinates": _coordinates(geometry)}


def _coordinates(geometry: Geometry) -> list[object]:
    if geometry.members:
        return [_coordinates(member) for member in geometry.members]
    axes = 2 + ("Z" in geometry.marks)
    lines: list[object] = [[list(position[:axes]) for position in line] for line in geometry.lines]
    if geometry.kind == _POINT:
        return [axis for position in geometry.lines[0] for axis in position[:axes]]
    return [list(position[:axes]) for position in geometry.lines[0]] if geometry.kind == _LINE else lines


def _text(geometry: Geometry) -> str:
    name, body = _NAMES[geometry.kind].upper(), _body(geometry)
    if geometry.marks:
        return f"{name} {geometry.marks} {body}"
    return f"{name} {body}" if body == _EMPTY else f"{name}{body}"


def _body(geometry: Geometry) -> str:
    if geometry.kind == _COLLECTION:
        parts = [_text(member) for member in geometry.members]
    elif geometry.kind > _POLYGON:
        parts = [_body(member) for member in geometry.members]
    elif geometry.kind == _POLYGON:
        parts = [f"({_positions_text(line)})" for line in geometry.lines]
    else:
        parts = [_positions_text(line) for line in geometry.lines if line]
    return f"({','.join(parts)})" if parts else _EMPTY


def _positions_text(line: tuple[Position, ...]) -> str:
    return ",".join(" ".join(real_text(axis) if math.isfinite(axis) else str(axis) for axis in item) for item in line)
