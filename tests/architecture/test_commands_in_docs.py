"""Commands and options that pages name are those of the command line, their error codes are ours, and their sync configs compile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.validate_skill import text_problems

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    *sorted((DOCS / "concepts").glob("*.md")),
    *sorted((DOCS / "tutorial").glob("*.md")),
    DOCS / "faq.md",
    DOCS / "howto/agents.md",
    DOCS / "howto/production.md",
    DOCS / "howto/troubleshooting.md",
]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_what_a_page_names_is_there(page: Path) -> None:
    assert list(text_problems(page.read_text("utf-8"))) == []


def test_figures_of_the_production_guide_are_those_of_the_benchmarks() -> None:
    measured = (DOCS / "internals/benchmarks.md").read_text("utf-8")
    table = (DOCS / "howto/production.md").read_text("utf-8").partition("## Sizing")[2].partition("## Backups")[0]
    figures = re.findall(r"\d{1,3}(?:,\d{3})+|\d+\.\d(?= s| ms)|\d+(?= MB| and)|(?<=and )\d+(?= ms)", table)
    assert len(figures) > 12
    assert [figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d,])", measured)] == []
