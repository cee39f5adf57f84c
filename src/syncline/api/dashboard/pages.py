"""The page's files, as they go out: read once, served with headers that let them ask nobody but this service."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple

__all__ = ["DASHBOARD_PREFIXES", "PAGE_HEADERS", "PageFile", "page_files"]

DASHBOARD_PREFIXES = ("/dashboard", "/api/dashboard/")
"""Paths that belong to the dashboard begin so."""
_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
PAGE_HEADERS: list[tuple[bytes, bytes]] = [
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
]
"""On every answer of the dashboard. Nothing is kept by caches: answers may name users."""


class PageFile(NamedTuple):
    """A file of the page."""

    media_type: bytes
    body: bytes


def page_files() -> dict[str, PageFile]:
    """The files by path: the page itself is `/dashboard`, the others lie below."""
    files: dict[str, PageFile] = {}
    for entry in (resources.files("syncline.api.dashboard") / "static").iterdir():
        media_type = _TYPES.get(f".{entry.name.rpartition('.')[2]}")
        if media_type is not None:
            files[f"/dashboard/{entry.name}"] = PageFile(media_type, entry.read_bytes())
    page = files.pop("/dashboard/index.html")
    return files | {"/dashboard": page}
