"""The command line in a folder with a configuration, as an operator runs it, but inside this process: that saves a second each."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from syncline.cli.main import main

__all__ = ["Outcome", "run_command_line"]


class Outcome(NamedTuple):
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both outputs."""
        return self.out + self.err


def run_command_line(folder: Path, *arguments: str, **environment: str) -> Outcome:
    """Run `syncline …` in `folder` until it ends. Not for `start`, which needs the process for its signals."""
    out, err = io.StringIO(), io.StringIO()
    root = logging.getLogger()
    handlers, level, code = root.handlers[:], root.level, 0
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["syncline", *arguments]),
        mock.patch.dict(os.environ, environment),
    ):
        try:
            main()
        except SystemExit as exc:
            code = int(exc.code or 0)
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
    assert "Traceback" not in out.getvalue() + err.getvalue(), err.getvalue()
    return Outcome(code, out.getvalue(), err.getvalue())
