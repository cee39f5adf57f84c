"""House rules that a reader could forget, checked over the repository itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
CODE = [
    *SOURCES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "bench").rglob("*.py")),
    *sorted((ROOT / "tools").rglob("*.py")),
]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
MODULE_DOCSTRING_MIN = 20  # characters: less is a name said again


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in CODE
        if (lines := len(path.read_text("utf-8").splitlines())) > FILE_LINES_MAX
    }
    assert long == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in CODE
        for node in functions(path)
        if (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_every_module_of_the_package_says_what_it_is_for() -> None:
    told = {path: ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "" for path in SOURCES}
    assert [str(path.relative_to(ROOT)) for path, text in told.items() if len(text) < MODULE_DOCSTRING_MIN] == []


def test_public_names_are_listed_in_order_and_exist() -> None:
    wrong: list[str] = []
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        names = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
        ]
        if (
            names
            and list(names[0]) != sorted(names[0], key=lambda name: (not name.isupper(), name))
            and list(names[0]) != sorted(names[0])
        ):
            wrong.append(str(path.relative_to(ROOT)))
    assert wrong == []


def test_no_tests_are_skipped_without_a_reason() -> None:
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in CODE
        if path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if re.search(r"pytest\.skip\(\)|mark\.skip\s*$|mark\.skip\(\)", line)
    ]
    assert bare == []


def test_the_way_of_a_row_names_files_that_exist() -> None:
    text = (ROOT / "docs/internals/architecture.md").read_text("utf-8")
    missing: list[str] = []
    table = text[text.index("## The way of a row") : text.index("## Layers")]
    for row in table.splitlines():
        if not row.startswith("|"):
            continue
        folder = ""
        for name in re.findall(r"`([\w/]+(?:\.py|/))`", row.split("|")[-2]):
            path = name if "/" in name else f"{folder}/{name}"
            folder = str(Path(path).parent)
            if not (ROOT / "src/syncline" / path).exists():
                missing.append(path)
    assert missing == []


@pytest.mark.requirement(2)
def test_the_client_is_imported_from_one_place() -> None:
    from syncline.client import BackendConnector, CrudEntry, SyncDatabase, UpdateType

    assert all((BackendConnector, CrudEntry, SyncDatabase, UpdateType))
