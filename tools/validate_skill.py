"""`python -m tools.validate_skill [FOLDER]`: whether a skill for coding agents is well-formed, and true.

Form: the head of SKILL.md has a name (that of the folder, or of its link) and a description within their limits; the file is short; links
lead to files of the skill, and every reference is linked. Truth: names that are imported exist, Python and YAML can be read, sync configs
compile, commands and their options are those of the command line, and error codes are known.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import yaml

from syncline import errors
from syncline.cli.main import TABLE
from syncline.errors import SyncConfigError
from syncline.service.yaml_env import ENV_PREFIX
from syncline.sync_config import compile_sync_config

__all__ = ["problems_of", "text_problems"]

ROOT = Path(__file__).parents[1]
NAME_CHARACTERS_MAX = 64
DESCRIPTION_CHARACTERS_MAX = 1024
LINES_MAX = 500  # of SKILL.md: it is read whole
_FENCE = re.compile(r"^```(\w+)(?: [^\n]*)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_MENTION = re.compile(r"references/[\w-]+\.md")
_COMMAND = re.compile(r"`(syncline [a-z][^`]*)`")
_MODULE = re.compile(r"`(syncline(?:\.\w+)+)`")
_CODE = re.compile(r"PSYNC_[A-Z]\d{4}")


def problems_of(folder: Path, *, name: str = "syncline") -> list[str]:
    """What is wrong with a skill, a line each; empty where nothing is."""
    main = folder / "SKILL.md"
    if not main.is_file():
        return ["there is no SKILL.md"]
    pages = sorted([*folder.rglob("*.md"), *folder.rglob("*.mdc")])
    found = list(_head_problems(main.read_text("utf-8"), name))
    found += _link_problems(folder, pages)
    for page in pages:
        text = page.read_text("utf-8")
        found += [f"{page.relative_to(folder)}: {problem}" for problem in text_problems(text)]
    return found


def _head_problems(text: str, name: str) -> Iterator[str]:
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        head: Any = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError as exc:
        head = None
        yield f"SKILL.md: the head is no YAML: {exc}"
    if not isinstance(head, dict):
        yield "SKILL.md: there is no head between two lines of ---"
        return
    fields = cast("dict[str, Any]", head)
    named, description = str(fields.get("name", "")), str(fields.get("description", ""))
    if named != name or len(named) > NAME_CHARACTERS_MAX or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", named):
        yield f"SKILL.md: the name {named!r} is not {name!r}, or not a name"
    if not 0 < len(description) <= DESCRIPTION_CHARACTERS_MAX:
        yield f"SKILL.md: the description has {len(description)} characters, {DESCRIPTION_CHARACTERS_MAX} at most"
    if len(text.splitlines()) > LINES_MAX:
        yield f"SKILL.md: more than {LINES_MAX} lines"


def _link_problems(folder: Path, pages: list[Path]) -> Iterator[str]:
    linked: set[Path] = set()
    for page in pages:
        text = page.read_text("utf-8")
        targets = [page.parent / target for target in _LINK.findall(text) if "://" not in target]
        for target in [*targets, *(folder / mention for mention in _MENTION.findall(text))]:
            linked.add(target.resolve())
            if not target.is_file() or not target.resolve().is_relative_to(folder.resolve()):
                yield f"{page.relative_to(folder)}: {target.name} is not a file of the skill"
    for reference in sorted((folder / "references").glob("*")):
        if reference.resolve() not in linked:
            yield f"references/{reference.name}: nothing leads there"


def text_problems(text: str) -> Iterator[str]:
    """What is not true in a page: its blocks of code, and the commands, modules and error codes that it names."""
    for language, block in _FENCE.findall(text):
        yield from _CHECKS.get(language, lambda _: iter(()))(block)
    prose = _FENCE.sub("", text)
    for command in _COMMAND.findall(prose):
        yield from _command_problems(command)
    for module in _MODULE.findall(prose):
        yield from _name_problems(module)
    for code in set(_CODE.findall(text)) - _known_codes():
        yield f"{code} is no error code of ours"


def _python_problems(block: str) -> Iterator[str]:
    try:
        tree = ast.parse(block)
    except SyntaxError as exc:
        yield f"Python that cannot be read: {exc}"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("syncline"):
            module = importlib.import_module(str(node.module))
            yield from (f"{node.module} has no {alias.name}" for alias in node.names if not hasattr(module, alias.name))


def _yaml_problems(block: str) -> Iterator[str]:
    try:
        if "streams:" in block:
            compile_sync_config(block)
        else:
            yaml.load(block, _EnvLoader)
    except (yaml.YAMLError, SyncConfigError) as exc:
        yield f"YAML that does not hold: {exc}"


class _EnvLoader(yaml.SafeLoader):
    """Knows `!env PS_NAME`."""


def _env_value(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> str:
    name = str(loader.construct_scalar(node))
    if not name.startswith(ENV_PREFIX):
        raise yaml.YAMLError(f"!env {name}: names begin with {ENV_PREFIX}")
    return name


_EnvLoader.add_constructor("!env", _env_value)


def _shell_problems(block: str) -> Iterator[str]:
    for line in block.splitlines():
        if line.startswith("syncline "):
            yield from _command_problems(line.partition(" | ")[0])


def _command_problems(line: str) -> Iterator[str]:
    """A command line of ours, or the beginning of one: its words and its options."""
    _, *words = shlex.split(line.replace("…", ""))
    if not words or words == ["COMMAND", "--help"]:
        return
    command = TABLE.of_line(words)
    if command is None:
        yield f"there is no command `{line}`"
        return
    known = {name for parameter in command.load().params for name in [*parameter.opts, *parameter.secondary_opts]}
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in known | {"--help", "-h"}:
            yield f"`syncline {command.words}` has no option {word}"


def _name_problems(dotted: str) -> Iterator[str]:
    """A module, or a name in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for name in parts[length:]:
            if not hasattr(thing, name):
                yield f"there is no {dotted}"
                return
            thing = getattr(thing, name)
        return


@functools.cache
def _known_codes() -> set[str]:
    """Codes that the package's own code gives."""
    sources = (ROOT / "src/syncline").rglob("*.py")
    return {str(errors.SynclineError.code)} | {
        code for path in sources for code in _CODE.findall(path.read_text("utf-8"))
    }


_CHECKS: dict[str, Callable[[str], Iterator[str]]] = {
    "python": _python_problems,
    "yaml": _yaml_problems,
    "sh": _shell_problems,
    "console": lambda block: _shell_problems(re.sub(r"^\$ ", "", block, flags=re.MULTILINE)),
}


def main() -> int:
    """Print what is wrong; 1 where something is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "src/syncline/cli/skill")
    folder: Path = parser.parse_args().folder
    found = problems_of(folder, name=folder.name)
    print("\n".join(found) or f"{folder}: {len(list(folder.rglob('*.md*')))} files, nothing is wrong.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
