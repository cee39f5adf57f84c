"""Mutators: the server's own procedures, called by devices through the upload queue (docs/howto/mutators.md).

`registry` (names and functions), `arguments` (what is sent, judged by the app's type), `call` (what a function works with).
"""

from __future__ import annotations

from syncline.backend.mutators.call import MutationRefused, MutatorCall
from syncline.backend.mutators.registry import Mutators

__all__ = ["MutationRefused", "MutatorCall", "Mutators"]
