"""Replacing whole top-level sections of a YAML file as text, so that comments everywhere else stay."""

from __future__ import annotations

import re

__all__ = ["with_section"]


def with_section(text: str, key: str, section: str) -> str:
    """`text` with the top-level `key` and everything below it replaced by `section`; it is added at the end where there is none."""
    lines = text.splitlines(keepends=True)
    begin = next((number for number, line in enumerate(lines) if re.match(rf"{re.escape(key)}\s*:", line)), None)
    if begin is None:
        joint = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{joint}{section}"
    end = begin + 1
    while end < len(lines) and (not lines[end].strip() or lines[end][0] in " \t-"):
        end += 1
    while end > begin + 1 and not lines[end - 1].strip():
        end -= 1
    return "".join([*lines[:begin], section, *lines[end:]])
