"""Run the blocks of documentation pages in their order, as a reader with a shell would, and keep a transcript.

What a fenced block is for, its head says (docs/tutorial/index.md tells readers the same):

- `python`, `yaml` or `sql` whose first line is a comment with a file's name: the file is saved;
- `sh`: commands of the first terminal, where variables and the working folder stay from block to block;
- `sh install`: the same, run only where a reader has nothing installed yet;
- `sh terminal=NAME`: a program in a terminal of its own; one that runs there already gets Ctrl-C first;
- `console`: checks, each a line `$ command` and what it prints to standard output. `…` stands for anything; repeated until it is so.

A block of another form is an error: nothing on these pages may go unread.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Block", "PageFailed", "PageRunner", "blocks_of"]

COMMAND_TIMEOUT_S = 600.0  # seconds for a block of commands: an installation takes long
CHECK_TIMEOUT_S = 60.0  # seconds until a check must be right
CHECK_PAUSE_S = 0.3  # seconds between two looks
CTRL_C_TIMEOUT_S = 30.0  # seconds in which a program must end after Ctrl-C
_FENCE = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"^(?:#|--) ([\w./-]+\.\w+)\n")


class PageFailed(AssertionError):
    """A block did not do what its page says. The text has the place, the command and what it printed."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    note: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page that name a language."""
    text = page.read_text("utf-8")
    return [
        Block(page.name, text.count("\n", 0, found.start()) + 1, found[1], (found[2] or "").strip(), found[3])
        for found in _FENCE.finditer(text)
    ]


@dataclass
class PageRunner:
    """A reader's folder and terminals. `replaced` are texts of the pages to be read otherwise, such as ports that others have taken."""

    folder: Path
    environment: dict[str, str]
    replaced: Mapping[str, str] = field(default_factory=dict[str, str])
    installs: bool = False
    tell: Callable[[str], None] = print
    _terminals: dict[str, tuple[subprocess.Popen[bytes], Path]] = field(default_factory=dict, init=False)

    def run(self, block: Block) -> None:
        """Do what a block says. Raises PageFailed."""
        text = block.text
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        name = _FILE_NAME.match(text)
        if block.language == "sh" and block.note.startswith("terminal="):
            self._start(block, block.note.removeprefix("terminal="), text)
        elif block.language == "sh" and block.note in ("", "install"):
            if self.installs or not block.note:
                self._type(block, text)
        elif block.language == "console":
            for command, expected in _checks(block, text):
                self._check(block, command, expected)
        elif name and not block.note:
            self._save(block, name[1], text)
        else:
            raise PageFailed(f"{block.place}: nothing says what this block is for.")

    def printed_by(self, terminal: str) -> str:
        """What the program of a terminal has printed so far."""
        return self._terminals[terminal][1].read_text("utf-8", errors="replace")

    def close(self) -> None:
        """Press Ctrl-C in all terminals, the newest first."""
        for name in reversed(list(self._terminals)):
            self._interrupt(name)

    def _save(self, block: Block, name: str, text: str) -> None:
        self.tell(f"# {block.place}: saved {name}\n")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def _type(self, block: Block, text: str) -> None:
        """Run commands, and keep the folder and the variables that they leave behind."""
        left = self.folder / ".left-behind"
        script = f'set -e\n{text}\n{{ pwd; env -0; }} > "{left}"\n'
        done = self._shell(script)
        self.tell(f"# {block.place}\n{_as_typed(text)}{done.stdout}\n")
        if done.returncode != 0:
            raise PageFailed(
                f"{block.place} ended with {done.returncode}:\n{text}\n{done.stdout}{self._terminals_text()}"
            )
        folder, _, variables = left.read_text("utf-8").partition("\n")
        left.unlink()
        self.folder = Path(folder)
        self.environment = dict(entry.split("=", 1) for entry in variables.split("\0") if "=" in entry)
        self._change_made_files()

    def _change_made_files(self) -> None:
        """What the commands themselves have written may need other texts too: the port of a template."""
        service = self.folder / "powersync/service.yaml"
        if service.is_file():
            text = service.read_text("utf-8")
            for old, new in self.replaced.items():
                text = text.replace(old, new)
            service.write_text(text, "utf-8")

    def _shell(self, script: str, *, errors: int = subprocess.STDOUT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )

    def _check(self, block: Block, command: str, expected: list[str]) -> None:
        deadline = time.monotonic() + CHECK_TIMEOUT_S
        pattern = _pattern(expected)
        while True:
            done = self._shell(command, errors=subprocess.PIPE)  # progress goes there
            printed = "".join(f"{line.strip()}\n" for line in done.stdout.splitlines())
            if pattern.fullmatch(printed):
                self.tell(f"# {block.place}: check\n$ {command}\n{done.stdout}")
                return
            if time.monotonic() > deadline:
                wanted = "\n".join(expected)
                raise PageFailed(
                    f"{block.place}: {command}\nprinted\n{printed}{done.stderr}\ninstead of\n{wanted}\n{self._terminals_text()}"
                )
            time.sleep(CHECK_PAUSE_S)

    def _start(self, block: Block, name: str, text: str) -> None:
        if name in self._terminals:
            self._interrupt(name)
        self.tell(f"# {block.place}: terminal {name}\n{_as_typed(text)}\n")
        printed = self.folder / f".terminal-{name}"
        prepared = "[ -f .venv/bin/activate ] && . .venv/bin/activate; [ -f environment ] && . ./environment; "
        with printed.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"{prepared}exec {text.strip()}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._terminals[name] = process, printed

    def _interrupt(self, name: str) -> None:
        """Ctrl-C: the signal goes to all processes of the terminal."""
        process, _ = self._terminals[name]
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(CTRL_C_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.tell(f"# terminal {name} has printed:\n{self.printed_by(name)}")
        del self._terminals[name]

    def _terminals_text(self) -> str:
        return "".join(f"\nTerminal {name}:\n{self.printed_by(name)[-3000:]}" for name in self._terminals)


def _checks(block: Block, text: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that it prints."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    if parts[0].strip() or len(parts) == 1:
        raise PageFailed(f"{block.place}: a check begins with `$ command`.")
    for part in parts[1:]:
        command, *expected = part.rstrip("\n").split("\n")
        if not expected:
            raise PageFailed(f"{block.place}: a check without anything to expect proves nothing.")
        yield command, [line.strip() for line in expected]


def _pattern(expected: list[str]) -> re.Pattern[str]:
    """`…` as a line is any lines, inside of a line any text of it. Blanks at both ends of a line do not count."""
    lines = [
        r"(?:[^\n]*\n)*?" if line == "…" else r"[^\n]*?".join(map(re.escape, line.split("…"))) + "\n"
        for line in expected
    ]
    return re.compile("".join(lines))


def _as_typed(text: str) -> str:
    return "".join(f"$ {line}\n" for line in text.splitlines())
