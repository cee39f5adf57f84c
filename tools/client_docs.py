"""The reference page of the Python client, made of its public names, their signatures and their docstrings."""

from __future__ import annotations

import dataclasses
import enum
import importlib.util
import inspect
import os
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import syncline.client

__all__ = ["client_page", "entry", "limits"]

GROUPS: dict[str, tuple[str, ...]] = {
    "The database": ("SyncDatabase", "get_database", "reset_database", "Row", "Watch", "Diff", "Updated", "latest", "Superseded"),
    "Schema": ("Schema", "Table", "Column", "RawTable", "RawStatement", "lint_schema", "SchemaDrift", "new_id", "new_time_ordered_id"),
    "Status": (
        "SyncStatus", "SyncState", "BlockedBy", "Role", "Stalled", "StreamStatus", "StreamProgress", "PriorityStatus", "Progress",
        "CheckpointRequest",
    ),
    "Connectors and credentials": (
        "BackendConnector", "HttpConnector", "StaticConnector", "SupabaseConnector", "get_connector", "reset_connector", "Credentials",
        "TokenEndpoint", "ConfigAndToken", "SessionToken", "FixedCredentials", "TokenStore", "MemoryTokenStore", "FileTokenStore",
        "KeyringTokenStore", "Settings", "validate_url",
    ),
    "Uploads": (
        "CrudTransaction", "CrudEntry", "UpdateType", "UploadQueueStats", "UploadPolicy", "Exponential", "Fixed", "DeadLetter",
        "Mutators", "mutations_table", "ThreadTransaction", "rejections_table", "watch_rejections", "Rejection", "RejectedOperation",
        "WriteApiUploader", "RestPerEntryUploader", "TransactionsUploader", "TableBatchUploader", "OperationsUploader",
        "TransactionUploader", "RequestTimeouts", "Answer",
    ),
    "Accounts and lifecycle": ("SyncManager", "ManagerState", "OnSignOut", "AccountChange", "EncryptionKey", "ConnectionLimits"),
}  # fmt: skip
_INTRODUCTION = """# The Python client

`pip install syncline` brings it. Everything here is imported from `syncline.client`; `syncline.client.blocking` has `SyncDatabase` and
`BackendConnector` for code without an event loop, with the same names. The file on disk: [client-sqlite.md](client-sqlite.md). Errors:
[errors.md](errors.md). Guides: [an app from install to troubleshooting](../howto/client.md), with
[runnable examples](../../examples/README.md);
[SQLAlchemy, data frames, Qt, Textual, FastAPI](../howto/client-faces.md),
[attachments](../howto/attachments.md), [encryption](../howto/encryption.md), [testing an app](../howto/test-your-app.md).

Linux with Python 3.11 is what the tests run on. Nothing in the client needs Linux (no fork, no Unix sockets, no uvloop): Windows,
macOS and ARM are meant to work, and were not run.
"""


def client_page() -> str:
    """docs/reference/client.md: public names by topic, and the limits."""
    lines = [_INTRODUCTION]
    for title, names in GROUPS.items():
        lines.append(f"## {title}\n")
        for name in names:
            lines += entry(name, getattr(syncline.client, name))
    others = sorted(set(syncline.client.__all__) - {name for names in GROUPS.values() for name in names})
    lines.append("## Other names\n")
    for name in others:
        lines += entry(name, getattr(syncline.client, name))
    lines += ["## Limits\n", "| Limit | Value | |", "|---|---|---|", *limits(syncline.client)]
    return "\n".join(lines) + "\n"


def entry(name: str, thing: Any) -> list[str]:
    """The section of one public name: signature, docstring, members."""
    lines = [f"### `{name}`\n"]
    if inspect.isfunction(thing) or (inspect.isclass(thing) and _has_parameters(thing)):
        lines.append(f"```python\n{name}{_signature(thing)}\n```\n")
    if not inspect.isclass(thing) and not inspect.isfunction(thing):
        return [*lines, f"`{thing!r}`\n"]
    lines.append(_text(inspect.getdoc(thing) or "") + "\n")
    if inspect.isclass(thing):
        if issubclass(thing, enum.Enum):
            lines += [*(f"- `{name}.{member.name}`" for member in thing), ""]
        members = list(_members(thing))
        if members:
            lines += ["| | |", "|---|---|", *members, ""]
    return lines


def _has_parameters(kind: type[Any]) -> bool:
    return not issubclass(kind, enum.Enum) and not inspect.isabstract(kind) and not getattr(kind, "_is_protocol", False)


def _signature(thing: Callable[..., Any]) -> str:
    """The signature on one line where it fits, else a parameter a line."""
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return "(…)"
    parameters = [
        p.replace(default=_Environment()) if p.default is os.environ else p
        for p in signature.parameters.values()
        if p.name != "self"
    ]
    if inspect.isclass(thing):
        signature = signature.replace(return_annotation=inspect.Signature.empty)
    text = str(signature.replace(parameters=parameters)).replace("'", "")
    text = re.sub(r" at 0x[0-9a-f]+", "", text)
    return text if len(text) <= 120 else _one_a_line(text)


class _Environment:
    """Stands for `os.environ` as a default: its own text would be all that is in it."""

    def __repr__(self) -> str:
        return "os.environ"


def _one_a_line(text: str) -> str:
    depth, parts, part = 0, list[str](), ""
    opening, end = text.index("("), text.rindex(")")
    for char in text[opening + 1 : end]:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += char
    parts.append(part.strip())
    return "(\n" + "".join(f"    {one},\n" for one in parts) + ")" + text[end + 1 :]


def _members(kind: type[Any]) -> Iterator[str]:
    """Public methods and properties, in the order of their names; inherited ones of the client's own classes too."""
    fields = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set[str]()
    for name, member in sorted(inspect.getmembers(kind)):
        if name.startswith("_") or name in fields or not _is_ours(kind, name):
            continue
        document = _text((inspect.getdoc(member) or "").split("\n\n")[0])
        if isinstance(member, property):
            yield f"| `{name}` | {_cell(document)} |"
        elif callable(member):
            stars = "await " if inspect.iscoroutinefunction(member) else ""
            yield f"| `{stars}{name}{_cell(_short(member))}` | {_cell(document)} |"


def _is_ours(kind: type[Any], name: str) -> bool:
    owner = next((base for base in kind.__mro__ if name in vars(base)), object)
    return owner.__module__.startswith("syncline.") and not isinstance(vars(owner)[name], enum.Enum)


def _short(member: Callable[..., Any]) -> str:
    """The parameters' names alone."""
    try:
        parameters = [p for p in inspect.signature(member).parameters.values() if p.name not in ("self", "cls")]
    except ValueError:
        return "(…)"
    shown: list[str] = []
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown and not any(s.startswith("*") for s in shown):
            shown.append("*")
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        shown.append(f"{star}{parameter.name}" + ("=…" if parameter.default is not parameter.empty else ""))
    return f"({', '.join(shown)})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _text(document: str) -> str:
    """A docstring as Markdown: examples as code."""
    out: list[str] = []
    code = False
    for line in document.splitlines():
        if line.startswith(">>>") and not code:
            out.append("```python")
            code = True
        elif code and not line.strip():
            out.append("```")
            code = False
        out.append(re.sub(r"^(>>>|\.\.\.) ?", "", line) if code else line)
    return "\n".join([*out, "```"] if code else out)


def limits(package: ModuleType) -> Iterator[str]:
    """Named limits of a package's modules, with the comment that stands behind each."""
    prefix = f"{package.__name__}."
    for module in sorted(pkgutil.walk_packages(package.__path__, prefix), key=lambda info: info.name):
        spec = importlib.util.find_spec(module.name)
        if spec is None or spec.origin is None:
            continue
        source = Path(spec.origin).read_text("utf-8")
        pattern = r"^([A-Z][A-Z0-9_]*_(?:S|MS|US|MAX|KIB|BYTES|DAYS)) = \(?\s*([^#\n]+?)\s*(?:#\s*(.*?))?\n"
        for name, value, comment in re.findall(pattern, source, re.MULTILINE):
            yield f"| `{name}` ({module.name.removeprefix(prefix)}) | `{value}` | {_cell(comment)} |"
