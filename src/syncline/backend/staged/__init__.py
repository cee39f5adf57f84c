"""Staged uploads: one client transaction that is larger than a request may be (docs/howto/large-uploads.md).

`store` (the contract with a database), `postgres` (its tables), `uploads` (begin, parts, commit, verdict), `applying` (from stored parts to
the one database transaction), `endpoints` (the routes). Messages: `syncline.protocol.staged`.
"""

from __future__ import annotations

from syncline.backend.staged.store import StagedStore, StagedUpload
from syncline.backend.staged.uploads import StagedUploads

__all__ = ["StagedStore", "StagedUpload", "StagedUploads"]
