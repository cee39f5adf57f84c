"""`syncline inspect`: what a device has in its file, or what a new device would download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from syncline.cli.device_file.opening import KEY
from syncline.cli.exit_codes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, CommandFailed, failures_told
from syncline.cli.live.connecting import ViewerOptions
from syncline.cli.option_groups import spread_options
from syncline.cli.output import OUTPUT, Output, write_result
from syncline.cli.tables_text import aligned, bytes_text, counted

__all__ = ["inspect"]


@spread_options
def inspect(
    file: Path | None = typer.Argument(None, help="The database file of a device."),
    check: bool = typer.Option(True, "--check/--no-check", help="Read the whole file for damage too."),
    key: str = KEY,
    *,
    viewed: ViewerOptions,
    output: Output = OUTPUT,
) -> None:
    """Show what is in a device's file, which is not changed; without a file what a user's new device would download.

    Tables, rows, buckets, sync state, queue, sizes, and no values of rows. Ends with 1 where something is wrong with them.
    """
    with failures_told():
        if file is not None and viewed.user is not None:
            raise CommandFailed("Give a file, or --user.", exit_code=EXIT_USAGE)
        if file is not None:
            from syncline.cli.device_file.summary import summary_of

            value = summary_of(file, key, check=check)
            write_result(value, output, lambda: _file_text(value, checked=check))
        else:
            from syncline.cli.commands.live import downloaded

            value = downloaded(viewed.viewer(), sizes=True)
            write_result(value, output, lambda: _download_text(value))
    raise typer.Exit(EXIT_FAILED if value["problems"] else EXIT_OK)


def _file_text(value: dict[str, Any], *, checked: bool) -> str:
    queue, sync = value["queue"], value["sync"]
    last = sync["last_synced_at"] or "never"
    lines = [
        f"{value['file']}: {bytes_text(value['bytes'])}, layout version {value['layout_version']}, client {value['client_id']}",
        f"Last synced: {last}" + "".join(f"; priority {name}: {at}" for name, at in sync["priorities_since"].items()),
        f"Queue: {queue['entries']} entries ({bytes_text(queue['bytes'])}), {counted(queue['refused'], 'refused transaction')};"
        f" downloads: {queue['gate']}",
    ]
    tables = [[each["name"], each["kind"], each["rows"], bytes_text(each["bytes"])] for each in value["tables"]]
    lines += ["Tables:", *aligned(["table", "kind", "rows", "size"], tables)] if tables else ["Tables: none"]
    buckets = [
        [each["name"], each["rows"], each["ops"], bytes_text(each["bytes_downloaded"]), each["last_op"]]
        for each in value["buckets"]
    ]
    headings = ["bucket", "rows", "ops", "downloaded", "last op"]
    lines += ["Buckets:", *aligned(headings, buckets)] if buckets else ["Buckets: none"]
    for stream in value["streams"]:
        state = "active" if stream["active"] else "not active"
        lines.append(f"Stream {stream['stream']}: {state}, last synced {stream['last_synced_at'] or 'never'}")
    return "\n".join([*lines, *_problems(value["problems"], checked=checked)])


def _download_text(value: dict[str, Any]) -> str:
    tables = [[each["name"], each["rows"], bytes_text(each["bytes_data"])] for each in value["tables"]]
    buckets = [
        [
            each["name"],
            each["rows"],
            each["ops_downloaded"],
            bytes_text(each["bytes_downloaded"]),
            "; ".join(each["reasons"]),
        ]
        for each in value["buckets"]
    ]
    lines = [f"Checkpoint {value['checkpoint']}; streams: {', '.join(value['streams']) or 'none'}"]
    lines += ["Tables:", *aligned(["table", "rows", "data"], tables)] if tables else ["Tables: none"]
    headings = ["bucket", "rows", "ops", "download", "from"]
    lines += ["Buckets:", *aligned(headings, buckets)] if buckets else ["Buckets: none"]
    return "\n".join(
        [*lines, *(f"  ✗ {error}" for error in value["errors"]), *_problems(value["problems"], checked=True)]
    )


def _problems(problems: list[str], *, checked: bool) -> list[str]:
    if problems:
        return ["Problems:", *(f"  ✗ {problem}" for problem in problems)]
    return ["Sound." if checked else "The checksums of the buckets are right; the file was not checked further."]
