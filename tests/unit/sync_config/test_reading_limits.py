"""Limits of reading a sync config, and texts that the reader of YAML itself stumbles over."""

from __future__ import annotations

import pytest

from syncline.errors import SyncConfigError
from syncline.sync_config import compile_sync_config
from syncline.sync_config.problems import Problem, ProblemKind, Severity
from syncline.sync_config.source_text import LINE_CHARS_MAX, PROBLEMS_MAX
from syncline.sync_config.sql.expressions import EXPRESSION_DEPTH_MAX
from syncline.sync_config.yaml_nodes import NODES_MAX

START = "config: {edition: 3}\nstreams:\n  s:\n    "


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(SyncConfigError) as caught:
        compile_sync_config(text)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "line"),
    [(START + 'query: "\\UFFFFFFFF"', 4), (START + 'query: "\\U00110000"', 4), (f"%YAML 1.{'9' * 5000}\n---\na: 1", 1)],
    ids=["beyond 32 bits", "beyond Unicode", "version of 5,000 digits"],
)
def test_a_number_that_yaml_cannot_take_is_a_problem_of_its_line(text: str, line: int) -> None:
    (problem,) = problems_of(text)
    assert (problem.kind, problem.line) == (ProblemKind.YAML_SYNTAX, line)


def test_a_document_of_more_parts_than_allowed_is_refused() -> None:
    text = f"[{'1,' * NODES_MAX}]"
    assert [problem.kind for problem in problems_of(text)] == [ProblemKind.TOO_LARGE]
    assert [problem.kind for problem in problems_of(f"[{'1,' * (NODES_MAX - 1)}]")] == [ProblemKind.ROOT_NOT_MAP]


def test_no_more_problems_are_listed_than_anyone_reads_and_warnings_take_no_place_of_them() -> None:
    columns = ", ".join(f"nothing{n}() AS x{n}" for n in range(PROBLEMS_MAX + 20))
    unused = "".join(f"\n  c{n}: SELECT id FROM t" for n in range(PROBLEMS_MAX + 20))
    problems = problems_of(
        f"config: {{edition: 3}}\nwith:{unused}\nstreams: {{s: {{query: '{'SELECT ' + columns} FROM t'}}}}"
    )
    fatal = [problem for problem in problems if problem.severity is Severity.FATAL]
    assert len(fatal) == PROBLEMS_MAX
    assert len(problems) - len(fatal) <= PROBLEMS_MAX
    assert fatal[1].column - fatal[0].column == len("nothing0() AS x0, ")


def test_a_problem_in_a_very_long_line_has_its_place_without_the_line() -> None:
    text = f"{{a: 1, {' ' * LINE_CHARS_MAX}b: 1}}"
    place = text.index("b: 1")
    problem = next(problem for problem in problems_of(text) if '"b"' in problem.message)
    assert (problem.line, problem.column, problem.start_offset, problem.source_line) == (1, place + 1, place, "")
    assert str(problem).startswith(f"fatal: line 1, column {place + 1}: ")


def test_subqueries_in_from_are_nested_as_deeply_as_expressions() -> None:
    def nested(depth: int) -> str:
        return START + f"query: {'SELECT q.id FROM (' * depth}SELECT id FROM t{') AS q' * depth}"

    compile_sync_config(nested(EXPRESSION_DEPTH_MAX - 3))
    assert "nested deeper" in problems_of(nested(EXPRESSION_DEPTH_MAX))[0].message
    assert "nested deeper" in problems_of(nested(2000))[0].message
