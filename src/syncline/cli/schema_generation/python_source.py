"""What all Python outputs share: literals, the types of values, and the class with the streams. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import NamedTuple

from syncline.cli.schema_generation.header import head_lines
from syncline.cli.schema_generation.model import (
    ClientColumn,
    ClientStream,
    ClientTable,
    ClientTables,
    ColumnKind,
    StreamParameter,
    ValueTypes,
)
from syncline.cli.schema_generation.names import python_name
from syncline.cli.schema_generation.outputs import SchemaOutput
from syncline.client.schema_names import SchemaInvalid, check_name, check_not_reserved

__all__ = ["RESERVED", "PythonType", "docstring", "literal", "module", "python_type", "streams_class", "usable_tables"]


RESERVED = frozenset({"Any", "Decimal", "dt"})
"""Names of types in the modules: a field of such a name would hide the type."""


class PythonType(NamedTuple):
    """How values of a column are in Python: annotation, what it needs imported, and the helper of `syncline.client.Column`."""

    annotation: str
    helper: str
    imports: tuple[str, ...] = ()


_DATETIME = "import datetime as dt"  # so that a column may be called `date`
_JSON = PythonType("dict[str, Any] | list[Any]", "json", ("from typing import Any",))
_BY_DECLARED = {
    "bool": PythonType("bool", "boolean"),
    "date": PythonType("dt.date", "text", (_DATETIME,)),
    "json": _JSON,
    "jsonb": _JSON,
    "numeric": PythonType("Decimal", "text", ("from decimal import Decimal",)),
    "time": PythonType("dt.time", "text", (_DATETIME,)),
    "timestamp": PythonType("dt.datetime", "datetime", (_DATETIME,)),
    "timestamptz": PythonType("dt.datetime", "datetime", (_DATETIME,)),
}
_ARRAY = PythonType("list[Any]", "json", ("from typing import Any",))
_BY_KIND = {
    ColumnKind.TEXT: PythonType("str", "text"),
    ColumnKind.INTEGER: PythonType("int", "integer"),
    ColumnKind.REAL: PythonType("float", "real"),
}


def python_type(column: ClientColumn) -> PythonType:
    """By the source's own type where it says more than text, integer or real (client SQLite reference, 4)."""
    if column.declared.endswith("[]") and column.kind is ColumnKind.TEXT:
        return _ARRAY
    return _BY_DECLARED.get(column.declared) or _BY_KIND[column.kind]


def literal(text: str) -> str:
    """A text as Python writes it, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def docstring(text: str) -> str:
    """A text between three quotes, without what would end it or break the line."""
    plain = "".join(character if character.isprintable() and character not in '\\"' else "_" for character in text)
    return f'"""{plain}"""'


def usable_tables(found: ClientTables, notes: list[str]) -> tuple[ClientTable, ...]:
    """The tables and columns whose names the client can have; the others go to `notes`."""
    tables: list[ClientTable] = []
    for table in found.tables:
        if not _can_have(f'The table "{table.name}"', table.name, notes, is_table=True):
            continue
        columns = [
            column
            for column in table.columns
            if _can_have(f'The column "{column.name}" of "{table.name}"', column.name, notes)
        ]
        tables.append(ClientTable(table.name, tuple(columns)))
    return tuple(tables)


def _can_have(what: str, name: str, notes: list[str], *, is_table: bool = False) -> bool:
    try:
        (check_not_reserved if is_table else check_name)("Name", name)
    except SchemaInvalid as exc:
        notes.append(f"{what} is left out: {exc.hint} Rename it with AS.")
        return False
    return True


def module(found: ClientTables, output: SchemaOutput, *, imports: Collection[str], parts: Collection[str]) -> str:
    """A module: head, docstring, sorted imports, and the parts, which are separated by two empty lines."""
    needed = {*imports, "from syncline.client import SyncDatabase", "from syncline.client.streams import SyncStream"}
    if not found.streams:
        needed -= {"from syncline.client import SyncDatabase", "from syncline.client.streams import SyncStream"}
    groups: list[list[str]] = [[], [], []]
    for line in sorted(needed, key=lambda line: (not line.startswith("import "), line)):
        groups[_GROUPS.get(line.split()[1].split(".")[0], 0)].append(line)
    groups[2] = list(_merged(groups[2]))
    written = "\n\n".join("\n".join(group) for group in groups if group)
    about = f"The tables of this app on a device{', and its sync streams' if found.streams else ''}."
    head = f"{head_lines(found, output, '#')}{docstring(about)}\n\nfrom __future__ import annotations\n\n{written}"
    return "\n\n\n".join([head, *(part.rstrip("\n") for part in (*parts, streams_class(found.streams)) if part)]) + "\n"


_GROUPS = {"pydantic": 1, "sqlalchemy": 1, "syncline": 2}  # of imports; the standard library's are the first


def _merged(lines: list[str]) -> Iterator[str]:
    """Imports from one module in one line."""
    by_module: dict[str, set[str]] = {}
    for line in lines:
        _, name, _, wanted = line.split(" ", 3)
        by_module.setdefault(name, set()).update(wanted.split(", "))
    for name, wanted_names in by_module.items():
        yield f"from {name} import {', '.join(sorted(wanted_names))}"


def streams_class(streams: tuple[ClientStream, ...]) -> str:
    """`Streams(db)`, with one method for each stream; empty where there are none."""
    if not streams:
        return ""
    lines = [
        "class Streams:",
        '    """The sync streams that this app can subscribe to: `async with Streams(db).….subscribe(): …`."""',
        "",
        "    def __init__(self, db: SyncDatabase) -> None:",
        "        self._db = db",
    ]
    taken: set[str] = {"_db"}
    for stream in streams:
        name = python_name(stream.name, taken)
        taken.add(name)
        lines += ["", *(f"    {line}" for line in _method(stream, name))]
    return "\n".join(lines) + "\n"


def _method(stream: ClientStream, name: str) -> Iterator[str]:
    taken = {"self"}
    declared: list[str] = []
    given: list[str] = []
    for one in stream.parameters:
        variable = python_name(one.name, taken)
        taken.add(variable)
        declared.append(f"{variable}: {_parameter_type(one)}")
        given.append(f"{literal(one.name)}: {variable}")
    yield f"def {name}({', '.join(['self', '*', *declared] if declared else ['self'])}) -> SyncStream:"
    yield f"    {docstring(f'Stream {stream.name}.')}"
    arguments = [literal(stream.name), *(["{" + ", ".join(given) + "}"] if given else [])]
    yield f"    return self._db.sync_stream({', '.join(arguments)})"


def _parameter_type(parameter: StreamParameter) -> str:
    if parameter.is_list:
        return "list[str] | list[int] | list[float]"
    types = parameter.types
    names = [
        *(["float"] if types & ValueTypes.REAL else ["int"] if types & ValueTypes.INTEGER else []),
        *(["str"] if types & ValueTypes.TEXT else []),
    ]
    return " | ".join(names) or "str"
