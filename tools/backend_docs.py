"""docs/reference/backend.md, made of the backend toolkit's public names, their signatures and their docstrings."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType

import syncline.backend
from tools.client_docs import entry, limits

__all__ = ["MODULES", "backend_page"]

MODULES: dict[str, tuple[str, ...]] = {
    "The core": ("syncline.backend",),
    "Faces for frameworks": (
        "syncline.backend.fastapi",
        "syncline.backend.starlette",
        "syncline.backend.asgi",
        "syncline.backend.django",
        "syncline.backend.background",
    ),
    "Keys and tokens": ("syncline.auth.signer", "syncline.backend.auth"),
    "Databases": ("syncline.backend.persisters.postgres", "syncline.backend.persisters.sqlalchemy"),
    "Conflicts": ("syncline.backend.conflicts",),
    "Routes, limits and metrics": (
        "syncline.backend.http.routing",
        "syncline.backend.http.request_limits",
        "syncline.backend.metrics",
    ),
}
"""What an app imports, by topic. Names that a module only passes on from another one of these are told once."""

_INTRODUCTION = """\
# The backend toolkit

`pip install "syncline[backend]"` brings it. What it is for: [the write path](../concepts/write-path.md). The routes and their bodies:
[write-api.md](write-api.md). Guides: [frameworks](../howto/backend-faces.md), [tokens](../howto/backend-auth.md),
[databases](../howto/backend-databases.md), [mutators](../howto/mutators.md), [dead letters](../howto/dead-letters.md),
[large uploads](../howto/large-uploads.md). Metrics: [metrics.md](metrics.md).
"""


def backend_page() -> str:
    """The page: public names by topic and module, and the limits."""
    lines = [_INTRODUCTION]
    told: set[int] = set()
    for title, modules in MODULES.items():
        lines.append(f"## {title}\n")
        for module in map(importlib.import_module, modules):
            lines += _module(module, told)
    lines += ["## Limits\n", "| Limit | Value | |", "|---|---|---|", *limits(syncline.backend)]
    return "\n".join(lines) + "\n"


def _module(module: ModuleType, told: set[int]) -> Iterator[str]:
    yield f"Imported from `{module.__name__}`:\n"
    for name in module.__all__:
        thing = getattr(module, name)
        if name.isupper() or id(thing) in told:
            continue  # constants are among the limits
        told.add(id(thing))
        yield from entry(name, thing)
