"""A gateway that measures, stores and uploads: it only sends, and may lose its power at any time. Needs nothing but syncline."""

import argparse
import asyncio
import math
import os
from datetime import UTC, datetime

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table

BATCH_READINGS = 20  # readings that are stored, sent and applied together
SENSORS = ("inside", "outside")
SCHEMA = Schema(
    [
        Table(
            "readings",
            [
                Column.text("sensor"),
                Column.real("value"),
                Column.integer("batch"),
                Column.datetime("measured_at"),
            ],
            insert_only=True,  # goes to the upload queue, and is gone from the device once it is uploaded
        ),
        Table("counters", [Column.integer("value")], local_only=True),  # never leaves the device
    ]
)


def measure(sensor: str) -> float:
    """A temperature; a real gateway asks its bus here."""
    now = datetime.now(UTC)
    return (21 if sensor == "inside" else 9) + 3 * math.sin(now.timestamp() / 60)


async def store(db: SyncDatabase, readings: list[tuple[str, float, datetime]]) -> int:
    """Store a batch and count it, in one transaction: after a power cut both are there or neither is. Returns its number."""
    async with db.write_transaction() as tx:
        counter = await tx.get_optional("SELECT value FROM counters WHERE id = 'batch'")
        number = 1 if counter is None else counter["value"] + 1
        await tx.execute("INSERT OR REPLACE INTO counters (id, value) VALUES ('batch', ?)", [number])
        await tx.execute_many(
            "INSERT INTO readings (id, sensor, value, batch, measured_at) VALUES (uuid(), ?, ?, ?, ?)",
            [(sensor, value, number, at) for sensor, value, at in readings],
        )
    return number


async def has_room(db: SyncDatabase, waiting_max: int) -> bool:
    """Whether a batch more may wait: a gateway that is offline for months must not fill its card."""
    return (await db.get_upload_queue_stats()).count + BATCH_READINGS <= waiting_max


async def main(batches: int | None, interval_s: float, waiting_max: int) -> None:
    connector = HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"])
    async with SyncDatabase("gateway.db", schema=SCHEMA) as db:
        # A gateway reads nothing, so it asks for no streams. Pauses of up to a minute between two tries suit a bad connection.
        await db.connect(connector, include_default_streams=False, retry_delay_max_s=60)
        readings: list[tuple[str, float, datetime]] = []
        done = 0
        while batches is None or done < batches:
            readings += [(sensor, measure(sensor), datetime.now(UTC)) for sensor in SENSORS]
            if len(readings) >= BATCH_READINGS:
                if await has_room(db, waiting_max):
                    print(f"Batch {await store(db, readings)} is stored", flush=True)
                else:
                    print(f"Dropped {len(readings)} readings: as many wait as may", flush=True)
                readings = []
                done += 1
            await asyncio.sleep(interval_s)
        await db.trigger_sync(timeout=60)
        print("Waiting for upload:", (await db.get_upload_queue_stats()).count)


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="iot_gateway")
    options.add_argument("--batches", type=int, help="end after so many; otherwise it runs until it is killed")
    options.add_argument("--interval", type=float, default=1.0, help="seconds between two measurements")
    options.add_argument("--waiting-max", type=int, default=200_000, help="readings that may wait for their upload")
    asked = options.parse_args()
    asyncio.run(main(asked.batches, asked.interval, asked.waiting_max))
