"""Devices that write at random, sync, and are killed: `python -m tests.integration.client.writing_device`.

A nursery that has imported everything and forks a device for each line that it reads: {file, url, told, seed, first}. A device appends the
number of each transaction to the file `told` after its commit has returned; a device's transactions are those of `plan`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sys
from collections.abc import Iterator

from syncline.client import Column, HttpConnector, Schema, SyncDatabase, Table

SCHEMA = Schema([Table("lists", [Column.text("name")])])

Statement = tuple[str, list[str]]


def plan(seed: int, number: int) -> list[Statement]:
    """The statements of one transaction: one to three new rows, and sometimes a change or a deletion of rows of an earlier one."""
    draw = random.Random(f"{seed}/{number}")
    statements: list[Statement] = [
        ("INSERT INTO lists(id, name) VALUES (?, ?)", [f"own-{number:06}-{k}", f"v{number}"])
        for k in range(draw.randint(1, 3))
    ]
    earlier = f"own-{draw.randrange(number):06}-0" if number else ""
    match draw.randrange(6):
        case 0 if earlier:
            statements.append(("UPDATE lists SET name = ? WHERE id = ?", [f"changed by {number}", earlier]))
        case 1 if earlier:
            statements.append(("DELETE FROM lists WHERE id = ?", [earlier]))
        case _:
            pass
    return statements


def replay(seed: int, numbers: Iterator[int] | range) -> dict[str, str]:
    """The device's own rows after these transactions."""
    rows: dict[str, str] = {}
    for number in numbers:
        for sql, values in plan(seed, number):
            if sql.startswith("INSERT"):
                rows[values[0]] = values[1]
            elif sql.startswith("UPDATE"):
                if values[1] in rows:
                    rows[values[1]] = values[0]
            else:
                rows.pop(values[0], None)
    return rows


async def live(file: str, url: str, told: str, seed: int, first: int) -> None:
    """Sync and write until killed."""
    draw = random.Random(f"{seed}/{first}/pace")
    report = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with SyncDatabase(file, schema=SCHEMA) as db:
        await db.connect(HttpConnector(url), retry_delay_s=0.02, upload_throttle_s=0)
        number = first
        while True:
            async with db.write_transaction() as transaction:
                for sql, values in plan(seed, number):
                    await transaction.execute(sql, values)
            os.write(report, f"{number}\n".encode())
            number += 1
            await asyncio.sleep(draw.choice([0, 0, 0.001, 0.004]))


def main() -> None:
    """Fork a device for each line; say its process id."""
    logging.getLogger("syncline").setLevel(logging.ERROR)  # lost answers are what this is about
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        options = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                asyncio.run(live(**options))
            finally:
                os._exit(1)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
