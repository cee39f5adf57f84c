from __future__ import annotations

from pathlib import Path

import pytest

from syncline.backend.type_table import POSTGRES_TYPES, format_type_table

GOLDEN = Path(__file__).parents[2] / "fixtures" / "backend_types.md"


@pytest.mark.requirement(256)
def test_the_printed_table_is_the_recorded_one() -> None:
    """After a wanted change: `python -c "from syncline.backend.type_table import *; print(format_type_table(), end='')"` into the file."""
    assert format_type_table() == GOLDEN.read_text()


def test_no_cell_breaks_the_table() -> None:
    lines = format_type_table().splitlines()
    assert len(lines) == len(POSTGRES_TYPES) + 2
    assert {line.count("|") for line in lines} == {7}
