"""The skill for coding agents that comes with the package, and copying it to where an agent reads it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from syncline.cli.exit_codes import CommandFailed

__all__ = ["RULE", "SKILL_NAME", "install_rule", "install_skill", "skill_files"]

SKILL_NAME = "syncline"
RULE = "rules/syncline.mdc"
_MARK = f"\nname: {SKILL_NAME}\n"  # in the head of SKILL.md, by which a copy is known


def skill_files() -> dict[str, str]:
    """The texts of the skill's files by their paths."""
    return dict(_walk(files("syncline.cli") / "skill", ""))


def install_skill(folder: Path) -> tuple[Path, list[str]]:
    """Write the skill into `folder`/syncline. The folder, and the files in it.

    Files that an older copy had and this one has not are removed. Raises CommandFailed where something else is there, or nothing can be
    written.
    """
    target = folder / SKILL_NAME
    texts = skill_files()
    try:
        if target.exists() and not _is_copy(target):
            raise CommandFailed(f"{target} is there, and is no copy of this skill.", hint="Nothing was written.")
        for old in sorted(target.rglob("*.md*")):
            if old.relative_to(target).as_posix() not in texts:
                old.unlink()
        for name, text in texts.items():
            _write(target / name, text)
    except OSError as exc:
        raise CommandFailed(f"{exc.filename} cannot be written: {exc.strerror}") from exc
    return target, sorted(texts)


def install_rule(path: Path) -> None:
    """Write the rule file for editors. Raises CommandFailed where another file is there."""
    text = skill_files()[RULE]
    try:
        if path.exists() and path.read_text("utf-8").partition("\nglobs:")[0] != text.partition("\nglobs:")[0]:
            raise CommandFailed(f"{path} is there, and is no copy of the rule file.", hint="It was left as it is.")
        _write(path, text)
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandFailed(f"{path} cannot be written: {exc}") from exc


def _is_copy(target: Path) -> bool:
    mark = target / "SKILL.md"
    return mark.is_file() and _MARK in mark.read_text("utf-8", errors="replace")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda found: found.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry.read_text("utf-8")
