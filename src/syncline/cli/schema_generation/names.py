"""Names of streams, tables and columns as the field's command line writes them in code (command line reference, 4 and 8). Pure."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Collection

__all__ = ["camel_case", "capitalised", "in_quotes", "pascal_case", "python_class_name", "python_name"]


def capitalised(text: str) -> str:
    """With a capital first letter; the rest as it is."""
    return text[:1].upper() + text[1:]


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[-_]", name) if word]


def camel_case(name: str) -> str:
    """`list_todos` -> `listTodos`; the first word stays as it is."""
    first, *rest = _words(name) or [name]
    return first + "".join(map(capitalised, rest))


def pascal_case(name: str) -> str:
    """`list_todos` -> `ListTodos`."""
    return "".join(map(capitalised, _words(name) or [name]))


def in_quotes(text: str, quote: str, also: str = "") -> str:
    """A text between two `quote`s, with a backslash before those in it, before backslashes, and before what is in `also`."""
    escaped = "".join(f"\\{character}" if character in f"\\{quote}{also}" else character for character in text)
    return f"{quote}{escaped}{quote}"


def python_name(name: str, taken: Collection[str] = ()) -> str:
    """An identifier of Python as near to the name as there is, that is none of `taken`."""
    normal = unicodedata.normalize("NFKC", name)  # as Python reads identifiers
    plain = "".join(character if f"_{character}".isidentifier() else "_" for character in normal) or "_"
    if not plain.isidentifier():
        plain = f"_{plain}"
    if keyword.iskeyword(plain) or keyword.issoftkeyword(plain):
        plain = f"{plain}_"
    while plain in taken:
        plain = f"{plain}_"
    return plain


def python_class_name(table: str, taken: Collection[str] = ()) -> str:
    """The class of a table's rows: `all_types` -> `AllTypesRow`."""
    words = [word for word in re.split(r"[\W_]+", table) if word]
    return python_name("".join(map(capitalised, words)) + "Row", taken)
