"""The templates of `syncline init`: which files each one writes, and writing them all or none."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from syncline.cli.exit_codes import CommandFailed

__all__ = ["TEMPLATES", "template_files", "write_template"]

TEMPLATES = {
    "minimal": ("minimal",),
    "full": ("minimal", "full"),
    "fastapi": ("minimal", "fastapi"),
    "tui": ("minimal", "fastapi", "tui"),
}
"""Each template with the folders that it is made of; files of later ones replace those of earlier ones."""

PROJECT = "powersync/"
_NAMES = {"gitignore.txt": ".gitignore"}


def template_files(template: str) -> dict[str, str]:
    """The texts of a template's files by their paths; those that begin with `powersync/` are for the project's folder."""
    found: dict[str, str] = {}
    root = files("syncline.cli") / "templates"
    for folder in TEMPLATES[template]:
        found |= dict(_walk(root / folder, ""))
    return found


def write_template(template: str, directory: Path) -> list[Path]:
    """Write a template: the project's folder is `directory`, other files go beside it. The paths that were written.

    Raises CommandFailed, before anything is written, where one of them is there.
    """
    if directory.exists():
        raise CommandFailed(
            f'Directory "{directory}" already exists.',
            hint="Delete the folder to start over, or link what is in it with: syncline link self-hosted --api-url URL",
        )
    targets = {_target(name, directory): text for name, text in template_files(template).items()}
    there = [str(path) for path in targets if path.exists()]
    if there:
        raise CommandFailed(f"Already here: {', '.join(there)}.", hint="Nothing was written.")
    try:
        for path, text in targets.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    except OSError as exc:
        raise CommandFailed(f"{exc.filename} cannot be written: {exc.strerror}") from exc
    return list(targets)


def _target(name: str, directory: Path) -> Path:
    if name.startswith(PROJECT):
        return directory / name.removeprefix(PROJECT)
    return directory.parent / name


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(folder.iterdir(), key=lambda found: found.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + _NAMES.get(entry.name, entry.name.removesuffix(".txt")), entry.read_text("utf-8")
