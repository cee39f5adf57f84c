"""`written`: the tables and streams of a device in the words of an output. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from syncline.cli.schema_generation.dart import dart
from syncline.cli.schema_generation.dotnet import dot_net, dot_net_class
from syncline.cli.schema_generation.identifiers import unusable_names
from syncline.cli.schema_generation.kotlin import kotlin
from syncline.cli.schema_generation.model import ClientTables
from syncline.cli.schema_generation.outputs import SchemaOutput
from syncline.cli.schema_generation.python_rows import dataclass_rows, pydantic_rows
from syncline.cli.schema_generation.python_schema import python_schema
from syncline.cli.schema_generation.sql import sql_tables
from syncline.cli.schema_generation.sqlalchemy_models import sqlalchemy_models
from syncline.cli.schema_generation.swift import swift
from syncline.cli.schema_generation.typescript import javascript, javascript_legacy, typescript

__all__ = ["WrittenSchema", "written"]

_OF_THE_FIELD: Mapping[SchemaOutput, Callable[[ClientTables], str]] = {
    SchemaOutput.TS: typescript,
    SchemaOutput.JS: javascript,
    SchemaOutput.JS_LEGACY: javascript_legacy,
    SchemaOutput.DART: dart,
    SchemaOutput.KOTLIN: kotlin,
    SchemaOutput.SWIFT: swift,
    SchemaOutput.DOT_NET: dot_net,
    SchemaOutput.DOT_NET_CLASS: dot_net_class,
    SchemaOutput.SQL: sql_tables,
}
_PYTHON: Mapping[SchemaOutput, Callable[[ClientTables, list[str]], str]] = {
    SchemaOutput.PYTHON: python_schema,
    SchemaOutput.PYTHON_DATACLASS: dataclass_rows,
    SchemaOutput.PYDANTIC: pydantic_rows,
    SchemaOutput.SQLALCHEMY: sqlalchemy_models,
}


@dataclass(frozen=True, slots=True)
class WrittenSchema:
    """The text of a file, and what the person who wanted it should know."""

    text: str
    notes: tuple[str, ...]


def written(found: ClientTables, output: SchemaOutput) -> WrittenSchema:
    """The file of an output."""
    if output in _OF_THE_FIELD:
        return WrittenSchema(_OF_THE_FIELD[output](found), (*found.notes, *unusable_names(found, output)))
    notes: list[str] = []
    text = _PYTHON[output](found, notes)
    return WrittenSchema(text, (*found.notes, *notes))
