"""The backend toolkit: what an app's server needs to take uploads and issue tokens.

`core` (framework-free: a request in, a response out), `policies` (whose row is whose; `ownership`, `field_rules`,
`policy_check`), `conflicts/` (what happens when others have changed the row), `tokens` (who asks; tokens for devices),
`dialects/` (what connectors for other backends send), `mutators/` (procedures that devices call), `staged/` (very large transactions),
`persisters/` (what commits to a database); `routes` (what is served) behind thin faces: `starlette`, `fastapi`, `asgi`, `django`, and
`background` for anything else; `request_limits` and `metrics`. Facts: docs/reference/write-path.md.
"""

from __future__ import annotations

from syncline.backend.changes import ChangeFeed, ChangesPage
from syncline.backend.core import SyncBackend
from syncline.backend.dead_letters.letters import DeadLetter, DeadLetterFilter, DeadLetterLimits, DeadLetterState
from syncline.backend.hooks import Hooks
from syncline.backend.http.dead_letter_endpoints import holds_claim
from syncline.backend.mutators import MutationRefused, MutatorCall, Mutators
from syncline.backend.ownership import RolePermissions, RowSecurity, via
from syncline.backend.policies import TablePolicy
from syncline.backend.tokens import AuthenticatedUser, BackendAuth

__all__ = [
    "AuthenticatedUser",
    "BackendAuth",
    "ChangeFeed",
    "ChangesPage",
    "DeadLetter",
    "DeadLetterFilter",
    "DeadLetterLimits",
    "DeadLetterState",
    "Hooks",
    "MutationRefused",
    "MutatorCall",
    "Mutators",
    "RolePermissions",
    "RowSecurity",
    "SyncBackend",
    "TablePolicy",
    "holds_claim",
    "via",
]
