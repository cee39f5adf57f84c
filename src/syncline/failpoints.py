"""Failpoints of the replicator: named places at which a test ends the process as a crash would. For tests only.

`SYNCLINE_FAILPOINT=name:count` ends the process (`os._exit`, nothing is flushed or closed) when the place is passed for the
`count`-th time; without a count, the first time. Several are separated by commas. Where the variable is not set, `failpoint` is a
function without a body.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

__all__ = ["EXIT_STATUS", "FAILPOINTS", "VARIABLE", "failpoint", "make_failpoint"]

VARIABLE = "SYNCLINE_FAILPOINT"
EXIT_STATUS = 86  # how a process ends at a failpoint: no other reason gives this status

FAILPOINTS = frozenset(
    {
        # making a version
        "after-version-before-slot",  # stored, but the source has no slot for it yet
        "after-slot-before-snapshot",  # the slot keeps the log, no row is copied
        # copying tables
        "after-snapshot-flush-before-progress",  # rows of a block range are stored, its progress is not
        "after-snapshot-progress",  # a block range is complete, the next is not begun
        "before-table-snapshot-done",  # all rows of a table are stored, but the table still counts as pending
        "before-snapshot-done",  # all tables are copied, but the version still counts as incomplete
        "after-table-removed-before-replaced",  # a changed table's rows are gone, its record is the old one
        "after-beside-flush-before-commit",  # rows copied beside the stream are stored and invisible
        "after-beside-progress",  # a block range is complete beside the stream, the next is not begun
        # streaming
        "after-flush-before-commit",  # a source transaction's operations are stored and invisible
        "after-commit-before-notify",  # a checkpoint is visible, nobody was told
        "after-commit-before-acknowledge",  # on disk, but the source may send it again
        "after-acknowledge",  # the source may have forgotten it
        "in-truncate",  # some of a table's rows are removed
        # storage
        "between-ops-and-totals",  # inside the flush's transaction
        "in-compaction",  # a part of a bucket is compacted, the rest is not
        # switching versions
        "after-switch-before-drop",  # the new version serves, the old one is still there
        "after-slot-drop-before-version-drop",  # the old version's slot is gone, its data are not
    }
)


def make_failpoint(environment: Mapping[str, str], end: Callable[[int], object]) -> Callable[[str], None]:
    """The `failpoint` function for this environment; `end` is called with `EXIT_STATUS`.

    Raises ValueError for a name that is no failpoint or a count that is no positive number: a test that crashes nowhere proves nothing.
    """
    setting = environment.get(VARIABLE, "")
    if not setting:
        return _pass
    left: dict[str, int] = {}
    for part in setting.split(","):
        name, _, count = part.strip().partition(":")
        if name not in FAILPOINTS or int(count or 1) < 1:
            raise ValueError(f"{VARIABLE}: {part.strip()} names no failpoint, or no count from 1 on")
        left[name] = int(count or 1)

    def count_down(name: str) -> None:
        if name in left:
            left[name] -= 1
            if left[name] == 0:
                sys.stderr.write(f"ended at failpoint {name}\n")
                sys.stderr.flush()
                end(EXIT_STATUS)

    return count_down


def _pass(name: str, /) -> None:
    """Nothing: what every failpoint is in production."""


failpoint = make_failpoint(os.environ, os._exit)  # pyright: ignore[reportPrivateUsage] - the documented way to end without clean-up
