"""Geometries beyond the recorded expressions: every kind, both byte orders, and what is refused (sync config reference, 5)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.sync_config.evaluation.geometry import NESTING_MAX, parse_geometry, st_asgeojson, st_astext, st_x, st_y
from syncline.sync_config.evaluation.values import EvaluationError

Z, M, SRID = 0x8000_0000, 0x4000_0000, 0x2000_0000
NAN = float("nan")


def wkb(kind: int, *parts: float | int | bytes, order: str = "<") -> bytes:
    """EWKB: integers as counts, reals as coordinates, bytes as they are."""
    body = b"".join(
        part if isinstance(part, bytes) else struct.pack(f"{order}{'I' if isinstance(part, int) else 'd'}", part)
        for part in parts
    )
    return struct.pack(f"{order}BI", order == "<", kind) + body


POINT = wkb(1, 1.0, 2.5)
LINE = wkb(2, 2, 0.0, 0.0, 3.0, -1.0)
SQUARE = wkb(3, 1, 4, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0)

SHAPES: list[tuple[bytes, str, str]] = [
    (wkb(1, 1.0, 2.0, order=">"), "POINT(1 2)", '{"type":"Point","coordinates":[1.0,2.0]}'),
    (wkb(1 | M, 1.0, 2.0, 3.0), "POINT M (1 2 3)", '{"type":"Point","coordinates":[1.0,2.0]}'),
    (
        wkb(1 | Z | M | SRID, 4326, 1.0, 2.0, 3.0, 4.0),
        "POINT ZM (1 2 3 4)",
        '{"type":"Point","coordinates":[1.0,2.0,3.0]}',
    ),
    (wkb(1001, 1.0, 2.0, 3.0), "POINT Z (1 2 3)", '{"type":"Point","coordinates":[1.0,2.0,3.0]}'),
    (wkb(1, NAN, NAN), "POINT EMPTY", '{"type":"Point","coordinates":[]}'),
    (wkb(2, 0), "LINESTRING EMPTY", '{"type":"LineString","coordinates":[]}'),
    (wkb(3, 0), "POLYGON EMPTY", '{"type":"Polygon","coordinates":[]}'),
    (wkb(4, 2, POINT, wkb(1, 0.0, 1e21)), "MULTIPOINT((1 2.5),(0 1e+21))", ""),
    (
        wkb(5, 1, LINE),
        "MULTILINESTRING((0 0,3 -1))",
        '{"type":"MultiLineString","coordinates":[[[0.0,0.0],[3.0,-1.0]]]}',
    ),
    (
        wkb(6, 1, SQUARE),
        "MULTIPOLYGON(((0 0,1 0,0 1,0 0)))",
        '{"type":"MultiPolygon","coordinates":[[[[0.0,0.0],[1.0,0.0],[0.0,1.0],[0.0,0.0]]]]}',
    ),
    (
        wkb(7, 2, POINT, LINE),
        "GEOMETRYCOLLECTION(POINT(1 2.5),LINESTRING(0 0,3 -1))",
        '{"type":"GeometryCollection","geometries":[{"type":"Point","coordinates":[1.0,2.5]},'
        '{"type":"LineString","coordinates":[[0.0,0.0],[3.0,-1.0]]}]}',
    ),
    (wkb(7, 0), "GEOMETRYCOLLECTION EMPTY", '{"type":"GeometryCollection","geometries":[]}'),
]


@pytest.mark.parametrize(("data", "text", "geojson"), SHAPES)
def test_every_kind_is_written_as_text_and_as_geojson(data: bytes, text: str, geojson: str) -> None:
    assert st_astext(data) == st_astext(data.hex()) == text
    assert not geojson or st_asgeojson(data) == geojson


def test_only_points_that_are_somewhere_have_coordinates() -> None:
    assert (st_x(POINT), st_y(POINT)) == (1.0, 2.5)
    assert st_x(wkb(1, NAN, NAN)) is None
    assert st_y(LINE) is None


def test_nesting_has_a_limit() -> None:
    data = POINT
    for _ in range(NESTING_MAX):
        data = wkb(7, 1, data)
    assert str(st_astext(data)).endswith("POINT(1 2.5)" + ")" * NESTING_MAX)
    with pytest.raises(EvaluationError, match="deeper"):
        parse_geometry(wkb(7, 1, data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        wkb(0),
        wkb(8, 0),
        wkb(4001, 1.0, 2.0),
        wkb(1, 1.0),
        wkb(2, 2**32 - 1),
        wkb(3, 1, 2**31, 0.0),
        wkb(7, 2**32 - 1, POINT),
        wkb(4, 1, LINE),
        wkb(5, 1, POINT),
    ],
)
def test_bytes_that_are_no_geometry_are_refused(data: bytes) -> None:
    with pytest.raises(EvaluationError):
        parse_geometry(data)


@given(
    st.binary(max_size=64) | st.sampled_from([data for data, _, _ in SHAPES]), st.integers(0, 64), st.binary(max_size=2)
)
def test_any_bytes_are_read_or_refused(data: bytes, position: int, change: bytes) -> None:
    changed = data[:position] + change + data[position + len(change) :]
    try:
        text = st_astext(changed)
    except EvaluationError:
        return
    assert isinstance(text, str)
    assert st_asgeojson(changed) is not None
