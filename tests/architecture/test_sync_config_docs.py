"""The pages about the sync config say what the code does: their configs run, their lists are whole, their numbers are the limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from syncline.errors import SyncConfigError
from syncline.sync.limits import StreamLimits
from syncline.sync_config import compile_sync_config
from syncline.sync_config.compiler.binding import SOURCES_MAX
from syncline.sync_config.compiler.conditions import VARIANT_TERMS_MAX, VARIANTS_MAX
from syncline.sync_config.compiler.legacy.parameter_queries import PARAMETERS_MAX
from syncline.sync_config.compiler.sources import INLINED_PARTS_MAX, TERMS_MAX
from syncline.sync_config.compiler.streams import BUCKET_SOURCES_MAX
from syncline.sync_config.evaluation.expansion import EXPANDED_ROWS_MAX
from syncline.sync_config.evaluation.functions import LEGACY_FUNCTIONS
from syncline.sync_config.evaluation.json_values import JSON_DEPTH_MAX
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import PROBLEMS_MAX
from syncline.sync_config.sql.expressions import EXPRESSION_DEPTH_MAX
from syncline.sync_config.sql.parser import RESULT_COLUMNS_MAX
from syncline.sync_config.sql.tokens import NUMBER_CHARS_MAX, QUERY_CHARS_MAX
from syncline.sync_config.yaml_nodes import DEPTH_MAX, DOCUMENT_CHARS_MAX, NODES_MAX
from tests.support.sync_config_cases import Case, load_cases
from tests.support.sync_config_docs import pattern_blocks

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs/reference/sync-config.md").read_text("utf-8")
PATTERNS = (ROOT / "docs/howto/sync-config-patterns.md").read_text("utf-8")
CASES = load_cases()
PATTERN_CASES = [case for case in CASES if case.path.startswith("patterns/")]
BLOCK = re.compile(r"^```yaml\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", re.DOTALL | re.MULTILINE)
BLOCKS = [(match[1], match[2] or "") for match in BLOCK.finditer(REFERENCE)]


def section(page: str, heading: str) -> str:
    """The text under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", page, re.DOTALL | re.MULTILINE)
    assert found, f"no heading {heading!r}"
    return found[2]


# Patterns


@pytest.mark.parametrize("case", PATTERN_CASES, ids=[case.path for case in PATTERN_CASES])
def test_a_pattern_is_shown_as_it_runs(case: Case) -> None:
    heading = case.about.removeprefix("Patterns: ")
    text = section(PATTERNS, heading[0].upper() + heading[1:])
    config, table = pattern_blocks(case)
    assert f"{config}\n\n{table}\n" in text


def test_every_pattern_of_the_page_has_a_case() -> None:
    assert PATTERNS.count("```yaml") == len(PATTERN_CASES) == len(re.findall(r"^## ", PATTERNS, re.MULTILINE))


# The reference


@pytest.mark.parametrize(("config", "problems"), BLOCKS, ids=[str(number) for number in range(len(BLOCKS))])
def test_a_config_of_the_reference_has_the_problems_that_it_shows(config: str, problems: str) -> None:
    try:
        found = compile_sync_config(config).warnings
    except SyncConfigError as exc:
        found = tuple(exc.problems)
    assert "\n".join(map(str, found)) == problems.rstrip("\n")


def test_all_functions_are_listed() -> None:
    listed = set(
        re.findall(r"`(\w+)\(", "".join(re.findall(r"^\| (.*?) \|", section(REFERENCE, "Functions"), re.MULTILINE)))
    )
    assert listed == set(LEGACY_FUNCTIONS)


def test_all_kinds_of_problems_are_listed() -> None:
    listed = set(re.findall(r"`([a-z0-9_]+)`", section(REFERENCE, "Problems") + section(REFERENCE, "Warnings")))
    assert {str(kind) for kind in ProblemKind} <= listed


def test_the_limits_are_those_of_the_code() -> None:
    limits = StreamLimits()
    listed = [
        int(text.replace(",", ""))
        for text in re.findall(r"\| ([\d,]+) \|$", section(REFERENCE, "Limits"), re.MULTILINE)
    ]
    assert listed == [
        limits.buckets_max,
        limits.parameter_results_max,
        BUCKET_SOURCES_MAX,
        VARIANTS_MAX,
        SOURCES_MAX,
        EXPRESSION_DEPTH_MAX,
        VARIANT_TERMS_MAX,
        TERMS_MAX,
        INLINED_PARTS_MAX,
        RESULT_COLUMNS_MAX,
        PARAMETERS_MAX,
        QUERY_CHARS_MAX,
        DOCUMENT_CHARS_MAX,
        NODES_MAX,
        DEPTH_MAX,
        PROBLEMS_MAX,
        NUMBER_CHARS_MAX,
        JSON_DEPTH_MAX,
        EXPANDED_ROWS_MAX,
    ]


def test_every_case_names_the_section_that_it_shows() -> None:
    headings = set(re.findall(r"^#+ (.*)$", REFERENCE, re.MULTILINE)) | {"Patterns"}
    assert [case.path for case in CASES if case.about.partition(":")[0] not in headings] == []
