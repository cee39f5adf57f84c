"""`syncline buckets` and `syncline tail`: what a running service sends to one user."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.live.connecting import ViewerOptions
from syncline.cli.live.tailing import OPS_MAX, TAIL_S_MAX, tail
from syncline.cli.option_groups import spread_options
from syncline.cli.output import OUTPUT, Output, as_yaml, say, write_result
from syncline.cli.tables_text import aligned, bytes_text, counted

if TYPE_CHECKING:
    from syncline.cli.live.connecting import Viewer

__all__ = ["buckets", "downloaded", "tail_ops"]

WAIT_S = 30.0  # seconds for the first checkpoint; a whole download may take WAIT_DOWNLOAD_S
WAIT_DOWNLOAD_S = 600.0


@spread_options
def buckets(
    sizes: bool = typer.Option(False, "--sizes", help="Download everything into memory, and count rows and bytes."),
    *,
    viewed: ViewerOptions,
    output: Output = OUTPUT,
) -> None:
    """Show a user's buckets: names, operations, and the streams that they come from.

    The service is asked as a device asks it. What counts is what the token says.
    """
    with failures_told():
        viewer = viewed.viewer()
        value = downloaded(viewer, sizes=sizes)
        write_result(value, output, lambda: _buckets_text(value, sizes=sizes))


@spread_options
def tail_ops(
    count: int = typer.Option(OPS_MAX, "--count", "-n", min=1, help="Stop after so many operations."),
    seconds: float = typer.Option(TAIL_S_MAX, "--for", min=0.1, help="Stop after so many seconds."),
    from_start: bool = typer.Option(False, "--from-start", help="Begin with what is there already."),
    data: bool = typer.Option(False, "--data", help="Show the values of rows too."),
    *,
    viewed: ViewerOptions,
    output: Output = OUTPUT,
) -> None:
    """Show the operations that reach a user's devices, as they come. Ctrl-C ends it.

    With --output json each operation is one line of JSON, with yaml one document.
    """
    with failures_told():
        viewer = viewed.viewer()
        running = tail(
            viewer,
            lambda value: typer.echo(_operation_text(value, output)),
            ops_max=count,
            seconds_max=seconds,
            from_start=from_start,
            data=data,
            ready=lambda: say(f"Operations from {viewer.endpoint}; Ctrl-C ends it."),
        )
        try:
            asyncio.run(running)
        except KeyboardInterrupt:
            say("")  # behind the terminal's ^C


def downloaded(viewer: Viewer, *, sizes: bool) -> dict[str, Any]:
    """What a user's first checkpoint holds; with `sizes` everything is downloaded, and counted. Raises CommandFailed, SynclineError."""
    from syncline.cli.live.download import ROWS_MAX, Download, TooManyRows

    download = Download([subscription.stream for subscription in viewer.streams.subscriptions])

    async def run() -> None:
        async with (
            asyncio.timeout(WAIT_DOWNLOAD_S if sizes else WAIT_S),
            viewer.stream(viewer.request()) as lines,
        ):
            async for line, size in lines:
                download.receive(line, size)
                if download.is_complete or (download.last_op_id and not sizes):
                    return
        raise CommandFailed("The service has ended the stream before its first checkpoint was complete.")

    try:
        asyncio.run(run())
    except TimeoutError as exc:
        raise CommandFailed("The service has sent no complete checkpoint in time.", hint="syncline doctor") from exc
    except TooManyRows as exc:
        raise CommandFailed(
            f"The user has more than {ROWS_MAX} rows.", hint="syncline buckets, without --sizes"
        ) from exc
    return download.as_value(sizes=sizes)


def _operation_text(value: dict[str, Any], output: Output) -> str:
    if output is Output.JSON:
        return json.dumps(value, ensure_ascii=False)
    if output is Output.YAML:
        return f"---\n{as_yaml(value)}".rstrip("\n")
    row = f"{value['table']}/{value['id']}" if "table" in value else "-"
    told = "\t".join((value["op_id"], value["op"], row, value["bucket"]))
    return f"{told}\t{json.dumps(value['data'], ensure_ascii=False)}" if "data" in value else told


def _buckets_text(value: dict[str, Any], *, sizes: bool) -> str:
    found: list[dict[str, Any]] = value["buckets"]
    total = sum(bucket["ops"] for bucket in found)
    lines = [f"Checkpoint {value['checkpoint']}: {counted(len(found), 'bucket')}, {counted(total, 'operation')}"]
    headings = ["bucket", "priority", "ops", *(["rows", "data", "download"] if sizes else []), "from"]
    rows = [
        [
            bucket["name"],
            bucket["priority"],
            bucket["ops"],
            *(
                [bucket["rows"], bytes_text(bucket["bytes_data"]), bytes_text(bucket["bytes_downloaded"])]
                if sizes
                else []
            ),
            "; ".join(bucket["reasons"]),
        ]
        for bucket in found
    ]
    lines += aligned(headings, rows) if rows else []
    lines += [f"  ✗ {problem}" for problem in (*value["errors"], *value.get("problems", ()))]
    return "\n".join(lines)
