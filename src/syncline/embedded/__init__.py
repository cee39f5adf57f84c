"""A private Postgres for demos and tests: started in a second or two, on loopback, as root or not, gone when it is stopped."""

from __future__ import annotations

from syncline.embedded.server import EmbeddedPostgres

__all__ = ["EmbeddedPostgres"]
