"""PURE: what form of answer a client wants, from its headers `Accept` and `Accept-Encoding` (protocol reference, 2.1)."""

from __future__ import annotations

import enum

from syncline.protocol.line_formats import LineFormat

__all__ = ["CONTENT_TYPES", "ContentCoding", "choose_coding", "choose_format"]

CONTENT_TYPES = {
    LineFormat.NDJSON: "application/x-ndjson",
    LineFormat.BSON: "application/vnd.powersync.bson-stream",
}
"""Exact: a client compares the whole text, so nothing like a charset may follow."""
RANGES_MAX = 32  # entries of a header that are looked at; the rest counts as not there


class ContentCoding(enum.Enum):
    """How a body is compressed. The order is our preference among those that a client likes equally."""

    ZSTD = "zstd"
    GZIP = "gzip"
    IDENTITY = "identity"


def choose_format(accept: str | None) -> LineFormat:
    """BSON where the client prefers it by its q, exact names before wildcards, then in its own order; else NDJSON."""
    ranges = _ranges(accept or "")
    ranked = [
        (*rank, order, line_format)
        for order, line_format in enumerate(CONTENT_TYPES)
        if (rank := _type_rank(CONTENT_TYPES[line_format], ranges)) is not None
    ]
    return min(ranked)[-1] if ranked else LineFormat.NDJSON


def choose_coding(accept_encoding: str | None) -> ContentCoding:
    """The coding with the highest q that the client allows; without a header, or without a known one, none."""
    ranges = dict(_ranges(accept_encoding or ""))
    best, best_q = ContentCoding.IDENTITY, ranges.get("identity", 0.0)
    for coding in (ContentCoding.GZIP, ContentCoding.ZSTD):  # the later one wins where both are liked equally
        q = ranges.get(coding.value, ranges.get("*", 0.0))
        if q > 0 and q >= best_q:
            best, best_q = coding, q
    return best


def _type_rank(content_type: str, ranges: list[tuple[str, float]]) -> tuple[float, int, int] | None:
    """How much a type is liked: lower is better. None where it is not accepted."""
    patterns = [content_type, content_type.partition("/")[0] + "/*", "*/*"]
    found = [(patterns.index(name), position, q) for position, (name, q) in enumerate(ranges) if name in patterns]
    if not found:
        return None
    width, position, q = min(found)
    return (-q, width, position) if q > 0 else None


def _ranges(header: str) -> list[tuple[str, float]]:
    """Names with their q, in the client's order. An entry that cannot be read counts as not there."""
    found: list[tuple[str, float]] = []
    for entry in header.split(",")[:RANGES_MAX]:
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        q = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    q = float(value)
                except ValueError:
                    q = -1.0
        if name and 0 <= q <= 1:
            found.append((name, q))
    return found
