"""The forms in which a schema can be written. Imported by the command's help: nothing else is."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["SchemaOutput"]


class SchemaOutput(StrEnum):
    """What `--output` takes. The first eight are those of the field's own command line, the others ours."""

    TS = "ts"
    JS = "js"
    JS_LEGACY = "jsLegacy"
    DART = "dart"
    KOTLIN = "kotlin"
    SWIFT = "swift"
    DOT_NET = "dotNet"
    DOT_NET_CLASS = "dotNetClass"
    PYTHON = "python"
    PYTHON_DATACLASS = "python-dataclass"
    PYDANTIC = "pydantic"
    SQLALCHEMY = "sqlalchemy"
    SQL = "sql"
