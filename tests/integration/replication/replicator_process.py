"""A replication job in a process of its own, so that it can be killed: `python -m …replicator_process DSN FOLDER CONFIG_FILE`.

Prints the events of the job's log, one JSON object a line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from syncline.failpoints import VARIABLE
from syncline.replication.job import DeployedConfig, ReplicationJob
from syncline.replication.postgres import snapshot
from syncline.replication.postgres.source import PostgresSource
from syncline.storage.sqlite import SqliteStorage
from syncline.sync_config import compile_sync_config

__all__ = ["ReplicatorProcess"]

MODULE = "tests.integration.replication.replicator_process"
SLOT_NAME_PREFIX = "test_"
RANGE_BLOCKS = "RANGE_BLOCKS"  # environment variable: pages of one range, where fewer than usual are wanted


class ReplicatorProcess:
    """One run of the job. Leaving the block kills it."""

    def __init__(
        self, dsn: str, folder: Path, sync_config: str, *, failpoint: str = "", range_blocks: int | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        self._output = folder / f"output-{len(list(folder.glob('output-*')))}.ndjson"
        config = folder / "sync-config.yaml"
        config.write_text(sync_config)
        environment = {key: value for key, value in os.environ.items() if key not in (VARIABLE, RANGE_BLOCKS)}
        if failpoint:
            environment[VARIABLE] = failpoint
        if range_blocks is not None:
            environment[RANGE_BLOCKS] = str(range_blocks)
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULE, dsn, str(folder / "storage"), str(config)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def __enter__(self) -> ReplicatorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def output(self) -> str:
        """Everything it printed."""
        return self._output.read_text()

    def messages(self, event: str) -> list[str]:
        """The log's texts of one event."""
        lines = [line for line in self.output.splitlines() if line.startswith("{") and line.endswith("}")]
        return [found["message"] for line in lines if (found := json.loads(line))["event"] == event]


class _EventFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"event": getattr(record, "event", ""), "message": record.getMessage()})


async def _replicate(dsn: str, folder: Path, config: str) -> None:
    storage = SqliteStorage(folder)
    job = ReplicationJob(
        source=PostgresSource(dsn, application_name="syncline/test"),
        writer=storage.open_writer(),
        config=DeployedConfig(config, compile_sync_config(config)),
        slot_name_prefix=SLOT_NAME_PREFIX,
        on_checkpoint=lambda _checkpoint: None,
    )
    await job.run()


def main(arguments: Sequence[str]) -> None:
    """Run until killed."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_EventFormatter())
    logging.basicConfig(level=logging.DEBUG, handlers=[handler])
    snapshot.SNAPSHOT_RANGE_BLOCKS = int(os.environ.get(RANGE_BLOCKS, snapshot.SNAPSHOT_RANGE_BLOCKS))
    dsn, folder, config = arguments
    asyncio.run(_replicate(dsn, Path(folder), Path(config).read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
