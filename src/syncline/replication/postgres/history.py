"""Is the source's log still the one that was replicated? After a restore it may be another, and be longer than the old one was.

A restore by recovery begins a timeline of its own, which the source's identity tells. A server whose files were put back, as from a
snapshot of its disk, has the same identity, its old slot, and goes on writing: soon its log reaches beyond the position that is stored
here, and a stream from there would pass over everything that was written since the restore. But the stored position is the end of a
transaction, or that of one of our markers; in another log something else stands there.
"""

from __future__ import annotations

import psycopg

from syncline.errors import SlotLost
from syncline.replication.postgres.connection import Row
from syncline.replication.postgres.lsn import lsn_number

__all__ = ["check_history"]

_EVENTS_AT = """
SELECT count(*) FROM pg_replication_slots s,
       LATERAL pg_logical_slot_peek_binary_changes(s.slot_name, %(position)s::pg_lsn + 1, NULL,
           'proto_version', '1', 'publication_names', %(publication)s, 'messages', 'true') AS event
 WHERE s.slot_name = %(slot)s AND event.lsn = %(position)s::pg_lsn
"""


async def check_history(
    connection: psycopg.AsyncConnection[Row], slot_name: str, publication: str, position: str
) -> None:
    """Raise SlotLost when nothing ends at `position` in the log that the slot holds. Nobody streams from the slot meanwhile.

    What lies between the slot's position and ours, and one record more, is decoded for it, on the server: the log of a second or so, and
    after a crash of the source what it wrote since its last checkpoint. Where the slot is not behind us there is nothing to lose, and
    nothing to decode.
    """
    number = lsn_number(position)
    lsn = f"{number >> 32:X}/{number & 0xFFFFFFFF:X}"
    cursor = await connection.execute(
        "SELECT confirmed_flush_lsn < %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s", (lsn, slot_name)
    )
    row = await cursor.fetchone()
    if row is None or not row[0]:
        return
    names = '"' + publication.replace('"', '""') + '"'
    cursor = await connection.execute(_EVENTS_AT, {"position": lsn, "publication": names, "slot": slot_name})
    row = await cursor.fetchone()
    if row is None or row[0] == 0:
        raise SlotLost(
            f"The source's log has nothing at the stored position {position}: the source was restored to an earlier state."
        )
