"""Whatever tables, columns, streams and parameters are called: Python outputs are Python, and SQL is SQL."""

from __future__ import annotations

import ast
import contextlib
import os
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncline.cli.schema_generation.model import (
    ClientColumn,
    ClientStream,
    ClientTable,
    ClientTables,
    StreamParameter,
    ValueTypes,
)
from syncline.cli.schema_generation.outputs import SchemaOutput
from syncline.cli.schema_generation.writers import written

EXAMPLES = 200 if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else 10
CHECKED = settings(
    max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow]
)  # other work runs beside the tests
NAMES = st.one_of(
    st.text(st.one_of(st.characters(exclude_categories=("C", "Z")), st.sampled_from(" \n")), min_size=1, max_size=8),
    st.sampled_from(
        [
            "class",
            "id",
            "self",
            "dt",
            "Any",
            "db",
            "metadata",
            "model_x",
            "_x",
            "__x",
            "a b",
            "a-b",
            "2nd",
            "json",
            'a"b',
            "\\",
        ]
    ),
)
DECLARED = st.sampled_from(["", "bool", "timestamptz", "jsonb", "int4[]", "numeric", "date", "time"])
COLUMNS = st.builds(ClientColumn, NAMES, st.sampled_from(list(ValueTypes)), DECLARED)
TABLES = st.builds(
    ClientTable, NAMES, st.lists(COLUMNS, max_size=4, unique_by=lambda column: column.name.lower()).map(tuple)
)
PARAMETERS = st.builds(StreamParameter, NAMES, st.sampled_from(list(ValueTypes)), st.booleans())
STREAMS = st.builds(ClientStream, NAMES, st.lists(PARAMETERS, max_size=3, unique_by=lambda one: one.name).map(tuple))
FOUND = st.builds(
    ClientTables,
    st.lists(TABLES, max_size=3, unique_by=lambda table: table.name.lower()).map(tuple),
    st.lists(STREAMS, max_size=3, unique_by=lambda stream: stream.name).map(tuple),
    st.just(f"sha256:{'0' * 64}"),
)
PYTHON = (SchemaOutput.PYTHON, SchemaOutput.PYTHON_DATACLASS, SchemaOutput.PYDANTIC, SchemaOutput.SQLALCHEMY)


@pytest.mark.parametrize("output", PYTHON)
@CHECKED
@given(found=FOUND)
def test_python_outputs_can_be_compiled(output: SchemaOutput, found: ClientTables) -> None:
    text = written(found, output).text
    tree = ast.parse(text)
    compile(tree, "generated", "exec")
    for made in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        names = [
            node.target.id
            for node in made.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        ]
        names += [node.name for node in made.body if isinstance(node, ast.FunctionDef)]
        assert len(names) == len(set(names))


@CHECKED
@given(found=FOUND)
def test_sql_can_be_run(found: ClientTables) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.executescript(written(found, SchemaOutput.SQL).text)
        except sqlite3.OperationalError as exc:
            assert "reserved for internal use" in str(exc) or "duplicate column name: id" in str(exc)  # noqa: PT017 - or no error


@pytest.mark.parametrize("output", list(SchemaOutput)[:8])
@CHECKED
@given(found=FOUND)
def test_the_other_outputs_are_written_too(output: SchemaOutput, found: ClientTables) -> None:
    made = written(found, output)
    assert made.text
    assert all(isinstance(note, str) for note in made.notes)
