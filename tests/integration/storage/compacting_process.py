"""`python -m tests.integration.storage.compacting_process FOLDER STEP_OPS`: compact version 10 of a storage on command, in a process that
a failpoint can end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from syncline.replication.compactor import compact_all
from syncline.storage.sqlite import SqliteStorage


def main(folder: str, step_ops: str) -> None:
    """Compact, then close."""
    writer = SqliteStorage(Path(folder)).open_writer()
    compact_all(writer, 10, step_ops=int(step_ops))
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
