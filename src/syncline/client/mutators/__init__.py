"""Mutators on the device: a call in the upload queue, and its optimistic part (docs/howto/mutators.md).

`calls` (what a call is in the file), `registry` (`db.mutators`), `methods` (the property of the database).
"""

from __future__ import annotations

from syncline.client.mutators.calls import mutations_table
from syncline.client.mutators.registry import Mutators

__all__ = ["Mutators", "mutations_table"]
