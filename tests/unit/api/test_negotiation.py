from __future__ import annotations

import pytest

from syncline.api.negotiation import RANGES_MAX, ContentCoding, choose_coding, choose_format
from syncline.protocol.line_formats import LineFormat

BSON = "application/vnd.powersync.bson-stream"
NDJSON = "application/x-ndjson"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, LineFormat.NDJSON),
        ("", LineFormat.NDJSON),
        ("*/*", LineFormat.NDJSON),
        ("application/*", LineFormat.NDJSON),
        ("text/html", LineFormat.NDJSON),
        (BSON, LineFormat.BSON),
        (BSON.upper(), LineFormat.BSON),
        (f"{BSON};q=0.9,{NDJSON};q=0.8", LineFormat.BSON),
        (f"{NDJSON};q=0.8 , {BSON}; q=0.9", LineFormat.BSON),
        (f"{BSON};q=0.8,{NDJSON};q=0.9", LineFormat.NDJSON),
        (f"{NDJSON},{BSON}", LineFormat.NDJSON),
        (f"{BSON},{NDJSON}", LineFormat.BSON),
        (f"*/*,{BSON}", LineFormat.BSON),
        (f"{BSON};q=0.5,*/*", LineFormat.NDJSON),
        (f"{BSON};q=0,*/*", LineFormat.NDJSON),
        (f"{BSON};q=0", LineFormat.NDJSON),
        (f"{BSON};q=nonsense", LineFormat.NDJSON),
        (f"{BSON};q=2", LineFormat.NDJSON),
        (f"{BSON};charset=utf-8;q=0.9", LineFormat.BSON),
        (";;,,=", LineFormat.NDJSON),
        ("x/y," * RANGES_MAX + BSON, LineFormat.NDJSON),
    ],
)
def test_the_format_is_what_the_client_prefers(accept: str | None, expected: LineFormat) -> None:
    assert choose_format(accept) is expected


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        (None, ContentCoding.IDENTITY),
        ("", ContentCoding.IDENTITY),
        ("gzip", ContentCoding.GZIP),
        ("zstd", ContentCoding.ZSTD),
        ("br", ContentCoding.IDENTITY),
        ("deflate, br", ContentCoding.IDENTITY),
        ("gzip, zstd", ContentCoding.ZSTD),
        ("gzip, deflate, br, zstd", ContentCoding.ZSTD),
        ("GZIP", ContentCoding.GZIP),
        ("gzip;q=0.8, zstd;q=0.5", ContentCoding.GZIP),
        ("zstd;q=0, gzip", ContentCoding.GZIP),
        ("zstd;q=0, gzip;q=0", ContentCoding.IDENTITY),
        ("*", ContentCoding.ZSTD),
        ("*;q=0", ContentCoding.IDENTITY),
        ("zstd;q=0, *", ContentCoding.GZIP),
        ("identity", ContentCoding.IDENTITY),
        ("identity, gzip;q=0.5", ContentCoding.IDENTITY),
        ("identity;q=0.5, gzip;q=0.5", ContentCoding.GZIP),
        ("gzip;q=nan", ContentCoding.IDENTITY),
    ],
)
def test_the_coding_is_ours_among_what_the_client_likes_best(
    accept_encoding: str | None, expected: ContentCoding
) -> None:
    assert choose_coding(accept_encoding) is expected
