"""Names that are no identifiers in the language of an output.

The field's command line writes them as they are, and so do we; the file then does not compile, and whoever runs the command is told. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from syncline.cli.schema_generation.model import ClientTables, StreamParameter, ValueTypes
from syncline.cli.schema_generation.names import camel_case, capitalised, pascal_case
from syncline.cli.schema_generation.outputs import SchemaOutput

__all__ = ["unusable_names"]

Name = Callable[[str], str]
_RESERVED = frozenset(
    {
        "case",
        "class",
        "default",
        "else",
        "enum",
        "false",
        "for",
        "if",
        "import",
        "in",
        "is",
        "new",
        "null",
        "return",
        "super",
    }
    | {"switch", "this", "throw", "true", "try", "var", "while"}
)
_SCRIPT = frozenset({SchemaOutput.TS, SchemaOutput.JS})
_NUMBER = ValueTypes.INTEGER | ValueTypes.REAL


def _same(name: str) -> str:
    return name


def unusable_names(found: ClientTables, output: SchemaOutput) -> list[str]:
    """What is wrong with the names in a file of this output, each with what to do; empty where nothing is."""
    notes: list[str] = []
    for kind, name, written in _written_names(found, output):
        if not written.isidentifier() or (written in _RESERVED and kind != "column"):
            notes.append(f'The {kind} "{name}" is no name in {output}: the file will not compile. Rename it with AS.')
    if output in (SchemaOutput.KOTLIN, SchemaOutput.SWIFT):
        notes += [
            f'The parameter "{one.name}" of stream "{stream.name}" is used as a number and as text, which {output} cannot say:'
            " the file will not compile. Compare it with columns of one type, and leave out casts of it."
            for stream in found.streams
            for one in stream.parameters
            if _is_mixed(one)
        ]
    return notes


def _is_mixed(parameter: StreamParameter) -> bool:
    return bool(parameter.types & ValueTypes.TEXT and parameter.types & _NUMBER)


def _written_names(found: ClientTables, output: SchemaOutput) -> Iterator[tuple[str, str, str]]:
    """Kind and name of everything that stands as an identifier in a file, and how it stands there."""
    tables: dict[SchemaOutput, Name] = {
        SchemaOutput.TS: _same,
        SchemaOutput.JS: _same,
        SchemaOutput.DOT_NET: capitalised,
        SchemaOutput.DOT_NET_CLASS: pascal_case,
    }
    columns: dict[SchemaOutput, Name] = {
        SchemaOutput.TS: _same,
        SchemaOutput.JS: _same,
        SchemaOutput.DOT_NET_CLASS: pascal_case,
    }
    for table in found.tables if output in tables else ():
        yield "table", table.name, tables[output](table.name)
        for column in table.columns if output in columns else ():
            yield "column", column.name, columns[output](column.name)
    if output not in (*_SCRIPT, *tables, SchemaOutput.DART, SchemaOutput.KOTLIN, SchemaOutput.SWIFT):
        return
    of_method = pascal_case if output in (SchemaOutput.DOT_NET, SchemaOutput.DOT_NET_CLASS) else camel_case
    of_parameter = _same if output in _SCRIPT else camel_case
    for stream in found.streams:
        yield "stream", stream.name, of_method(stream.name)
        for one in stream.parameters:
            yield "parameter", one.name, of_parameter(one.name)
