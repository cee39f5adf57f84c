"""The keys of the configuration against the reference's list of them, and the exported schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from syncline.service.settings import ServiceSettings

ROOT = Path(__file__).parents[3]
FACTS = (ROOT / "docs/reference/service-config.md").read_text("utf-8")
LEFT_OUT = {"telemetry.internal_service_endpoint": "names a service of the vendor"}
"""Keys of the reference that the settings do not have, and why. They are noted in the log."""


def known_paths(kind: Any = ServiceSettings, path: str = "") -> Iterator[str]:
    """Every key of the settings as it is written in the reference's list, lists without brackets."""
    for name, hint in get_type_hints(kind).items():
        place = f"{path}.{name}".removeprefix(".")
        yield place
        for part in (hint, *get_args(hint)):
            if isinstance(part, type) and issubclass(part, msgspec.Struct) and get_origin(part) is None:
                yield from known_paths(part, place)


def first_cells(begin: str, end: str) -> list[str]:
    """The first cell of each row of a table between two texts."""
    part = FACTS[FACTS.index(begin) : FACTS.index(end, FACTS.index(begin))]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in part.splitlines() if line.startswith("| `")]
    assert rows
    return rows


def reference_paths() -> set[str]:
    """The keys for a Postgres source and a Postgres storage, and all others."""
    found = {f"replication.connections.{key}" for key in ("type", "id", "tag", "debug_api")}
    for cell in first_cells("**type: postgresql**", "**type: mongodb**"):
        keys = re.findall(r"`(\w+)`", cell)
        found |= {f"replication.connections.{key}" for key in keys}
        not_of_storage = {"slot_name_prefix", "snapshot_socket_timeout", "heartbeat_interval_seconds"}
        found |= {f"storage.{key}" for key in keys if key not in not_of_storage}
    found |= {f"storage.{key}" for key in ("type", "max_pool_size", "default_storage_version", "batch_limits")}
    limits = ("max_estimated_size", "max_record_count", "max_current_data_batch_size")
    found |= {f"storage.batch_limits.{key}" for key in limits}
    found |= {f"client_auth.{key}" for cell in first_cells("### 2.3", "### 2.4") for key in keys_of(cell)}
    found |= {f"api.{key}" for cell in first_cells("### 2.4", "### 2.5") for key in keys_of(cell)}
    for cell in first_cells("### 2.5", "### 2.6"):
        section, *inner = keys_of(cell)
        found |= {section, *(f"{section}.{key}" for key in inner)}
    return found


def keys_of(cell: str) -> list[str]:
    """`a.b[]` as a.b; what a section may hold, in braces, after it."""
    return [key.removesuffix("[]") for key in re.findall(r"`([\w.]+(?:\[\])?)`", cell)]


@pytest.mark.requirement(182)
def test_every_key_of_the_reference_is_a_setting_with_its_type() -> None:
    reference = reference_paths()
    assert len(reference) > 60
    assert reference - set(known_paths()) == set(LEFT_OUT)


def test_every_key_is_in_the_page_and_in_the_schema() -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text("utf-8")
    schema = json.loads((ROOT / "docs/reference/service-config.schema.json").read_text("utf-8"))
    named = {key for definition in schema["$defs"].values() for key in definition["properties"]}
    for path in known_paths():
        key = path.rpartition(".")[2]
        assert f"| `{key}` |" in page
        assert key in named
