"""Types generated from a schema."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest

from syncline.client import Column, Schema, Table
from syncline.client.row_types import RowTypeKind, row_type_source
from syncline.client.typed_rows import row_decoder
from syncline.errors import ClientError

SCHEMA = Schema(
    [
        Table(
            "todo_items",
            [
                Column.text("title"),
                Column.integer("position"),
                Column.real("weight"),
                Column.boolean("done"),
                Column.datetime("made"),
                Column.json("tags"),
            ],
        ),
        Table("lists", [Column.text("name")]),
        Table("logs", [Column.text("line")], insert_only=True),
    ]
)
KINDS: list[RowTypeKind] = ["dataclass", "struct", "typed_dict"]


def load(source: str, name: str) -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module  # annotations are looked up there
    exec(compile(source, name, "exec"), module.__dict__)
    return module


@pytest.mark.requirement(103)
@pytest.mark.parametrize("kind", KINDS)
def test_generated_types_read_rows(kind: RowTypeKind) -> None:
    module = load(row_type_source(SCHEMA, kind=kind), f"generated_{kind}")
    names = ["id", "title", "position", "weight", "done", "made", "tags"]
    row = ("a", "x", 1, 1.5, 1, "2026-01-02T03:04:05Z", '["p"]')
    item: Any = row_decoder(module.TodoItems).decode(names, [row])[0]
    values: dict[str, Any] = item if kind == "typed_dict" else {name: getattr(item, name) for name in names}
    assert (values["done"], values["tags"], values["made"].year, values["weight"]) == (True, ["p"], 2026, 1.5)
    [empty] = row_decoder(module.TodoItems).decode(names, [("a", *[None] * 6)])
    assert empty is not None
    assert list(get_type_hints(module.Lists)) == ["id", "name"]
    assert not hasattr(module, "Logs")


@pytest.mark.requirement(103)
def test_the_source_is_as_a_person_would_write_it() -> None:
    source = row_type_source(Schema([Table("lists", [Column.text("name"), Column.datetime("made")])]))
    assert source == (
        '"""Types of the rows on the device, generated from the schema."""\n\n'
        "from __future__ import annotations\n\n"
        "from dataclasses import dataclass\nfrom datetime import datetime\n\n\n"
        '@dataclass\nclass Lists:\n    """A row of `lists`."""\n\n'
        "    id: str\n    name: str | None\n    made: datetime | None\n"
    )


def test_names_that_cannot_be_fields_or_types_are_refused() -> None:
    for column in ("class", "two-words", "1st"):
        with pytest.raises(ClientError, match="field"):
            row_type_source(Schema([Table("lists", [Column.text(column)])]))
    with pytest.raises(ClientError, match="Two tables"):
        row_type_source(Schema([Table("a_b", []), Table("a-b", [])]))
    assert "class Row1st:" in row_type_source(Schema([Table("1st", [])]))


def test_generated_sources_are_formatted(tmp_path: Path) -> None:
    for kind in KINDS:
        path = tmp_path / f"{kind}.py"
        path.write_text(row_type_source(SCHEMA, kind=kind))
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run(
        [ruff, "format", "--isolated", "--check", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
