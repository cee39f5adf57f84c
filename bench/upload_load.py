"""Devices that upload as fast as they are answered: a process of its own for `bench.upload`.

`python -m bench.upload_load URL DEVICES BATCHES TRANSACTIONS MARK`: each of DEVICES devices (each of another user) sends BATCHES requests
of TRANSACTIONS transactions, one request after another over one connection. Bodies are made before the clock starts. It writes one JSON
line: `seconds`, and `milliseconds` of each request.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp

from bench.rig import token

__all__ = ["main"]


def main() -> None:
    """Upload, report."""
    url, devices, batches, transactions, mark = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
    print(json.dumps(asyncio.run(_upload(url, devices, batches, transactions, mark))), flush=True)


async def _upload(url: str, devices: int, batches: int, transactions: int, mark: str) -> dict[str, Any]:
    bodies = [
        [_body(f"{mark}-{device}", batch * transactions, transactions) for batch in range(batches)]
        for device in range(devices)
    ]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=devices)) as session:
        started = time.perf_counter()
        times = await asyncio.gather(*(_device(session, url, n, bodies[n]) for n in range(devices)))
        return {"seconds": time.perf_counter() - started, "milliseconds": [ms for own in times for ms in own]}


async def _device(session: aiohttp.ClientSession, url: str, number: int, bodies: list[bytes]) -> list[float]:
    headers = {"authorization": f"Bearer {token(f'user-{number}')}", "content-type": "application/json"}
    times: list[float] = []
    for body in bodies:
        started = time.perf_counter()
        async with session.post(f"{url}/api/data", data=body, headers=headers) as response:
            answer = await response.read()
        times.append((time.perf_counter() - started) * 1000)
        statuses = {result["status"] for result in json.loads(answer)["results"]}
        assert statuses == {"success"}, answer[:500]
    return times


def _body(client_id: str, first: int, count: int) -> bytes:
    """A request of `count` transactions, each with one new row of about 240 bytes."""
    transactions: list[dict[str, Any]] = []
    for n in range(first, first + count):
        data = {
            "title": f"Item number {n}",
            "body": "text " * 32,
            "amount": n,
            "done": n % 2,
            "created_at": _CREATED_AT,
        }
        entry = {"op": "PUT", "table": "items", "id": f"{client_id}-{n}", "client_op_id": n + 1, "op_data": data}
        transactions.append({"transaction_id": n + 1, "crud": [entry]})
    return json.dumps({"client_id": client_id, "transactions": transactions}).encode()


_CREATED_AT = "2026-01-02T03:04:05.678Z"


if __name__ == "__main__":
    main()
