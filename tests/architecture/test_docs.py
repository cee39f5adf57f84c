"""Generated pages are what the code says, and links between pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.generate_docs import PAGES

ROOT = Path(__file__).parents[2]
PAGES_ALL = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    assert (ROOT / "docs/reference" / name).read_text("utf-8") == PAGES[name](), "run `make docs`"


def test_links_between_pages_lead_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES_ALL
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if not target.startswith("http") and not (page.parent / target).exists()
    ]
    assert broken == []


def test_the_pages_that_code_points_to_are_there() -> None:
    named = {
        path
        for source in (ROOT / "src").rglob("*.py")
        for path in re.findall(r"docs/[\w/-]+\.md", source.read_text("utf-8"))
    }
    assert sorted(path for path in named if not (ROOT / path).exists()) == []
