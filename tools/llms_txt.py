"""llms.txt: the map of the documentation for language models, made from docs/index.md (form: llmstxt.org)."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["MAP", "llms_txt", "pages_reached"]

ROOT = Path(__file__).parents[1]
MAP = ROOT / "docs/index.md"
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+\.md)(?:#[^)]*)?\)")
_HEAD = """\
# Syncline

> Local-first sync for people who keep their data in their own database: a sync service for Postgres that speaks the PowerSync protocol,
> a Python client with a local SQLite, and a backend toolkit for uploads.

- Client writes never pass the sync service: they go to the app's backend, which commits them to Postgres; the service only reads.
- Who sees what is SQL in `sync-config.yaml`; only `auth.user_id()` and `auth.parameter(…)` may be trusted in it.
- `syncline doctor` names the first cause when something does not sync; `syncline skill install FOLDER` installs the skill for agents.
"""


def llms_txt() -> str:
    """The file: a heading for each section of the map, and a line for each page."""
    lines = [_HEAD]
    for section in re.split(r"^## ", MAP.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        lines.append(f"## {title}\n")
        for line in body.splitlines():
            lines += _entries(line)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _entries(line: str) -> list[str]:
    """A line of the map: the text behind its only link describes it; several links are told alone."""
    links = [(name, target) for name, target in _LINK.findall(line)]
    if len(links) != 1:
        return [f"- [{name}](docs/{target})" for name, target in links]
    name, target = links[0]
    note = line[line.index(")") + 1 :].strip(" :,")
    return [f"- [{name}](docs/{target})" + (f": {note}" if note else "")]


def pages_reached(start: Path = MAP) -> set[Path]:
    """Every page that links lead to from the map."""
    reached: set[Path] = set()
    waiting = [start.resolve()]
    while waiting:
        page = waiting.pop()
        if page in reached or not page.is_file():
            continue
        reached.add(page)
        waiting += [(page.parent / target).resolve() for _, target in _LINK.findall(page.read_text("utf-8"))]
    return reached
