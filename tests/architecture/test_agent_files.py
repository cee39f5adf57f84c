"""What agents read: llms.txt is the map of all pages, and the skill is well-formed and true."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml
from tools.llms_txt import pages_reached
from tools.validate_skill import problems_of

from syncline.service.config import load_config

ROOT = Path(__file__).parents[2]
SKILL = ROOT / "src/syncline/cli/skill"


@pytest.mark.requirement(205)
def test_the_map_leads_to_every_page_and_begins_with_the_picture_and_the_rule() -> None:
    pages = {path.resolve() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(str(path.relative_to(ROOT)) for path in pages - pages_reached()) == []
    first_screen = (ROOT / "docs/index.md").read_text("utf-8").partition("\n## ")[0]
    assert "upload queue" in first_screen
    assert "**Client writes never pass the sync service.**" in first_screen


def test_llms_txt_leads_to_pages_that_are_there() -> None:
    """That it is current is tested with the generated pages."""
    text = (ROOT / "llms.txt").read_text("utf-8")
    assert text.startswith("# Syncline\n\n> ")
    targets = re.findall(r"^- \[[^\]]+\]\(([^)]+)\)", text, re.MULTILINE)
    assert len(targets) > 30
    assert [target for target in targets if not (ROOT / target).is_file()] == []


@pytest.mark.requirement(206, 213, 247)
def test_the_skill_is_well_formed_and_true() -> None:
    assert problems_of(SKILL) == []
    main = (SKILL / "SKILL.md").read_text("utf-8")
    for heading in ("## What to read for a task", "## Which client", "## Which face of the framework", "## Key rules"):
        assert heading in main


def test_the_skill_s_configuration_of_a_service_can_be_loaded(tmp_path: Path) -> None:
    [block] = re.findall(
        r"^```yaml\n(.*?)^```", (SKILL / "references/service.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "service.yaml").write_text(block)
    (tmp_path / "sync-config.yaml").write_text("config: {edition: 3}\nstreams: {}\n")
    environment = {"PS_SOURCE_URI": "postgresql://u:p@db.example.com/app", "PS_ADMIN_TOKEN": "x"}
    config = load_config(path=tmp_path / "service.yaml", environment=environment, working_directory=tmp_path)
    assert (config.port, config.settings.client_auth.audience) == (8080, ["my-app"])


BROKEN = {
    "SKILL.md": [
        ("name: syncline\n", "name: Sync line\n", "the name"),
        ("---\nname", "--\nname", "no head"),
        ("references/service.md", "references/servce.md", "servce.md is not a file"),
        ("[references/debugging.md](references/debugging.md)", "nowhere", "nothing leads there"),
        ("syncline doctor\n", "syncline doktor\n", "no command"),
        ("check schema --client", "check schema --klient", "no option --klient"),
        ("`syncline.client.blocking`", "`syncline.client.bloking`", "there is no syncline.client.bloking"),
    ],
    "references/backend.md": [
        ("import AuthenticatedUser,", "import AuthenticUser,", "has no AuthenticUser"),
        ("def make_app()", "def make app()", "cannot be read"),
    ],
    "references/sync-config.md": [("WHERE owner_id", "WERE owner_id", "does not hold")],
    "references/service.md": [("!env PS_SOURCE_URI", "!env SOURCE_URI", "names begin with PS_")],
    "references/debugging.md": [("PSYNC_S2105", "PSYNC_S9105", "PSYNC_S9105 is no error code")],
}


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"), [(file, *case) for file, cases in BROKEN.items() for case in cases]
)
def test_the_validator_finds_what_is_wrong(tmp_path: Path, file: str, old: str, new: str, problem: str) -> None:
    copy = tmp_path / "syncline"
    shutil.copytree(SKILL, copy)
    text = (copy / file).read_text("utf-8")
    assert old in text
    (copy / file).write_text(text.replace(old, new), "utf-8")
    found = problems_of(copy)
    assert any(problem in line for line in found), found


def test_a_skill_that_is_too_long_or_not_there_is_refused(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == ["there is no SKILL.md"]
    head = yaml.safe_dump({"name": "syncline", "description": "d" * 1025})
    (tmp_path / "SKILL.md").write_text(f"---\n{head}---\n" + "line\n" * 500)
    assert [problem.partition(": ")[2].split(",")[0] for problem in problems_of(tmp_path)] == [
        "the description has 1025 characters",
        "more than 500 lines",
    ]
