"""The backend toolkit: what an app's server needs to take uploads and issue tokens.

`core` (framework-free: a request in, a response out), `policies` (whose row is whose; `ownership`, `field_rules`,
`policy_check`), `conflicts/` (what happens when others have changed the row), `tokens` (who asks; tokens for devices),
`persisters/` (what commits to a database), `starlette` and `fastapi` (thin faces). Facts: docs/reference/write-path.md.
"""

from __future__ import annotations

from syncline.backend.changes import ChangeFeed, ChangesPage
from syncline.backend.core import SyncBackend
from syncline.backend.ownership import RolePermissions, RowSecurity, via
from syncline.backend.policies import TablePolicy
from syncline.backend.tokens import AuthenticatedUser, BackendAuth

__all__ = [
    "AuthenticatedUser",
    "BackendAuth",
    "ChangeFeed",
    "ChangesPage",
    "RolePermissions",
    "RowSecurity",
    "SyncBackend",
    "TablePolicy",
    "via",
]
