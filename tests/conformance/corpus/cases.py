"""Reading the corpus. `tests/fixtures/sync_config/corpus/README.md` explains its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CORPUS", "Case", "deliberate_differences", "load_cases"]

CORPUS = Path(__file__).parents[2] / "fixtures/sync_config/corpus"


@dataclass(frozen=True, slots=True)
class Case:
    """One recorded case. `expect` is what the reference answered."""

    name: str
    feature: str
    config: str
    expect: Mapping[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    connections: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tables: Mapping[str, Mapping[str, str]] | None = None


@cache
def load_cases() -> tuple[Case, ...]:
    """All cases: configs with rows and connections, and configs with problems."""
    texts = [(CORPUS / file).read_text(encoding="utf-8") for file in ("cases.jsonl", "errors.jsonl")]
    return tuple(Case(**json.loads(line)) for text in texts for line in text.split("\n") if line)


@cache
def deliberate_differences() -> dict[str, str]:
    """Names of cases that differ on purpose, each with its reason (a row of docs/compatibility.md)."""
    listed = yaml.safe_load((CORPUS / "differences.yaml").read_text())
    return {name: entry["reason"] for entry in listed["cases"] for name in entry["names"]}
