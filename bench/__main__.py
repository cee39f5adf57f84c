"""`python -m bench [NAME …]`: run the benches that are named (all by default), print the table and keep it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Generator, Sequence

from bench import client, compact, download, evaluate, failover, fanout, latency, replicate, snapshot, upload
from bench.storage_wall import STORAGES
from bench.table import Figure, format_table, write_results

__all__ = ["main"]

BENCHES: dict[str, Callable[[argparse.Namespace], Generator[Figure]]] = {
    "evaluate": lambda sizes: evaluate.run(rows=sizes.rows, streams=sizes.streams),
    "compact": lambda sizes: compact.run(rows=sizes.rows),
    "snapshot": lambda sizes: snapshot.run(rows=sizes.rows, storage=sizes.storage),
    "replicate": lambda sizes: replicate.run(
        rows=sizes.rows,
        transaction_rows=sizes.transaction_rows,
        transactions=sizes.transactions,
        storage=sizes.storage,
    ),
    "client": lambda sizes: client.run(rows=sizes.rows, storage=sizes.storage),
    "download": lambda sizes: download.run(rows=sizes.rows, storage=sizes.storage),
    "failover": lambda _sizes: failover.run(),
    "fanout": lambda sizes: fanout.run(
        streams=sizes.open_streams, commits=sizes.commits, rows=sizes.rows, storage=sizes.storage
    ),
    "upload": lambda sizes: upload.run(transactions=sizes.transactions),
    "latency": lambda sizes: latency.run(commits=sizes.commits, streams=sizes.streams, storage=sizes.storage),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benches that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("benches", nargs="*", metavar="bench", help=f"of {', '.join(BENCHES)}; default all")
    parser.add_argument("--rows", type=positive_size, default=200_000, help="rows evaluated, copied, downloaded")
    parser.add_argument("--transaction-rows", type=positive_size, default=50_000, help="rows of a large transaction")
    parser.add_argument("--transactions", type=positive_size, default=10_000, help="one-row transactions in a row")
    parser.add_argument("--commits", type=positive_size, default=300, help="samples of each latency")
    parser.add_argument(
        "--streams", type=positive_size, default=200, help="idle streams of other users; streams of a large config"
    )
    parser.add_argument("--open-streams", type=positive_size, default=10_000, help="open streams of `fanout`")
    parser.add_argument("--storage", choices=STORAGES, default="sqlite", help="where the service keeps its buckets")
    sizes = parser.parse_args(arguments)
    names: list[str] = sizes.benches or list(BENCHES)
    if unknown := set(names) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    started = time.monotonic()
    for name in names:
        print(f"{name} …", flush=True)
        for figure in BENCHES[name](sizes):
            figures.append(figure)
            print(f"  {figure.what}: {figure.value:,.4g} {figure.unit}  ratio {figure.ratio or '-'}", flush=True)
    print(f"\n{format_table(figures)}\n{write_results(figures)} after {time.monotonic() - started:.0f} s")


def positive_size(text: str) -> int:
    """A size. Raises ValueError, which argparse explains."""
    size = int(text)
    if size < 1:
        raise ValueError
    return size


if __name__ == "__main__":
    main()
