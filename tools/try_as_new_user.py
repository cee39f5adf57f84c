"""Try the project as a new user would: `python -m tools.try_as_new_user [--working-tree] [--transcript FILE]`.

A clean clone and an empty home, both in a temporary folder that is deleted at the end. What is run there is what the README and the
tutorial say, nothing else, and all that is typed and printed goes into the transcript (build/new-user.txt). `--working-tree` takes the
files as they are now instead of the last commit. Needs git, make, bash, Python with venv, and the package registries; it takes some
minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from syncline.embedded.ports import free_port
from tools.page_runner import Block, PageFailed, PageRunner, blocks_of

ROOT = Path(__file__).parents[1]
KEPT = re.compile(
    r"LANG|LC_.*|PIP_.*|UV_.*|.*_PROXY|.*_proxy|SSL_CERT_.*|REQUESTS_CA_BUNDLE"
)  # how to reach registries
README_COMMAND = "make demo ARGS=--check"


def main() -> int:
    """Run it all; 1 where something is not as the pages say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--working-tree", action="store_true", help="The files as they are, not the last commit.")
    parser.add_argument("--transcript", type=Path, default=ROOT / "build/new-user.txt", help="Where it is written.")
    options = parser.parse_args()
    options.transcript.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    with options.transcript.open("w", encoding="utf-8") as transcript, tempfile.TemporaryDirectory() as temporary:

        def tell(text: str) -> None:
            print(text, flush=True)
            print(text, file=transcript, flush=True)

        folder = Path(temporary)
        clone = folder / "syncline"
        _copy_working_tree(clone) if options.working_tree else _clone(clone)
        try:
            _read_and_type(clone, folder, tell)
        except PageFailed as exc:
            tell(f"NOT AS THE PAGES SAY: {exc}")
            return 1
        tell(f"All as the pages say, in {time.monotonic() - begun:.0f} s.")
    return 0


def _clone(target: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)


def _copy_working_tree(target: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def _read_and_type(clone: Path, folder: Path, tell: Callable[[str], None]) -> None:
    """The README's command in the clone, then the tutorial in the home. Raises PageFailed."""
    home = folder / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    environment = kept | {"HOME": str(home), "PATH": f"{_python_folder()}:/usr/local/bin:/usr/bin:/bin"}
    readme = (clone / "README.md").read_text("utf-8")
    if README_COMMAND not in readme:
        raise PageFailed(f"README.md no longer says `{README_COMMAND}`.")
    in_clone = PageRunner(clone, dict(environment), tell=tell)
    in_clone.run(Block("README.md", 1, "sh", "", README_COMMAND + "\n"))

    # `pip install "syncline[all]"` is to mean this clone, until a registry has it under this name.
    wheels = folder / "wheels"
    pip = clone / ".venv/bin/python"
    subprocess.run([pip, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, clone], check=True)
    links = f"{environment.get('PIP_FIND_LINKS', '')} {wheels}".strip()
    environment |= {"PIP_FIND_LINKS": links, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    ports = {"8080": str(free_port()), "8000": str(free_port())}
    reader = PageRunner(home, environment, replaced=ports, installs=True, tell=tell)
    tutorial = clone / "docs/tutorial"
    try:
        for page in (tutorial / "index.md", *sorted(tutorial.glob("[1-9]-*.md"))):
            for block in blocks_of(page):
                reader.run(block)
    finally:
        reader.close()


def _python_folder() -> Path:
    """Where the Python is that this one was made from: a new user has no environment yet."""
    return Path(sys.base_prefix) / "bin"


if __name__ == "__main__":
    sys.exit(main())
