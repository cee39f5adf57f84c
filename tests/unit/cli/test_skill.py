"""`syncline skill install` copies the skill, brings a copy up to date, and touches nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from syncline.cli.exit_codes import CommandFailed
from syncline.cli.main import app
from syncline.cli.skill_files import RULE, install_rule, install_skill, skill_files


def test_the_skill_comes_with_the_package_and_is_copied_whole(tmp_path: Path) -> None:
    rule = tmp_path / ".cursor/rules/syncline.mdc"
    done = CliRunner().invoke(app, ["skill", "install", str(tmp_path / ".claude/skills"), "--rule", str(rule)])
    assert done.exit_code == 0, done.output
    copy = tmp_path / ".claude/skills/syncline"
    assert {str(path.relative_to(copy)): path.read_text("utf-8") for path in copy.rglob("*.md*")} == skill_files()
    assert rule.read_text("utf-8") == skill_files()[RULE]
    assert len(skill_files()) >= 8


def test_a_copy_is_brought_up_to_date_and_files_of_others_stay(tmp_path: Path) -> None:
    target, _ = install_skill(tmp_path)
    (target / "SKILL.md").write_text(skill_files()["SKILL.md"] + "old\n")
    (target / "references/gone.md").write_text("of an older copy")
    (target / "notes.txt").write_text("somebody's own")
    assert install_skill(tmp_path)[0] == target
    assert (target / "SKILL.md").read_text("utf-8") == skill_files()["SKILL.md"]
    assert not (target / "references/gone.md").exists()
    assert (target / "notes.txt").read_text() == "somebody's own"
    install_rule(tmp_path / "r.mdc")
    install_rule(tmp_path / "r.mdc")


def test_what_is_no_copy_is_left_as_it_is(tmp_path: Path) -> None:
    other = tmp_path / "syncline"
    other.mkdir()
    (other / "SKILL.md").write_text("---\nname: another\n---\n")
    (tmp_path / "r.mdc").write_text("my rules\n")
    with pytest.raises(CommandFailed, match="no copy of this skill"):
        install_skill(tmp_path)
    with pytest.raises(CommandFailed, match="no copy of the rule file"):
        install_rule(tmp_path / "r.mdc")
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailed, match="cannot be written"):
        install_skill(tmp_path / "file")
    assert [path.name for path in other.iterdir()] == ["SKILL.md"]
    assert (tmp_path / "r.mdc").read_text() == "my rules\n"
