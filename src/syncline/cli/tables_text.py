"""PURE: rows as a table of aligned columns, for people."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["aligned", "bytes_text", "counted"]

_UNITS = ("bytes", "KiB", "MiB", "GiB")


def aligned(headings: Sequence[str], rows: Sequence[Sequence[object]], *, indent: str = "  ") -> list[str]:
    """Lines with a heading; None is an empty cell. Numbers stand at the right of their column."""
    cells = [list(headings), *([_cell(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [any(isinstance(row[i], int) for row in rows) for i in range(len(headings))]
    return [
        (
            indent
            + "  ".join(
                cell.rjust(width) if is_right else cell.ljust(width)
                for cell, width, is_right in zip(line, widths, right, strict=True)
            )
        ).rstrip()
        for line in cells
    ]


def bytes_text(count: int | None) -> str | None:
    """A size with its unit; None stays None."""
    if count is None:
        return None
    size, unit = float(count), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{count} bytes" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"


def counted(count: int, noun: str) -> str:
    """1 bucket, 2 buckets."""
    return f"{count} {noun}{'s' * (count != 1)}"


def _cell(value: object) -> str:
    return "" if value is None else str(value)
