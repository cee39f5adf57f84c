"""Rows as objects of the app's own types: dataclasses, msgspec structs, TypedDicts, NamedTuples, Pydantic models, or single values.

The annotation of a field says how the stored value is read: SQLite has text and numbers only, so `bool` comes from 0 and 1, `datetime`,
`date` and `time` from ISO 8601 text, `UUID`, `Decimal` and enums from their text, and containers and nested types from JSON text.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

import msgspec

from syncline.client.dates import parse_date, parse_datetime, parse_time
from syncline.errors import ClientError

__all__ = ["CONVERTED_AT_ONCE", "TYPES_CACHED_MAX", "RowDecoder", "RowTypeMismatch", "row_decoder"]

T = TypeVar("T")

CONVERTED_AT_ONCE = 200  # rows that are converted in one go: well under a millisecond
TYPES_CACHED_MAX = 256  # types whose way of reading is remembered

_SINGLE = ""  # the name under which the codec of a single value is kept
_TIMES: dict[type, Callable[[Any], Any]] = {datetime: parse_datetime, date: parse_date, time: parse_time}
_RECORD_MARKS = (
    "__dataclass_fields__",
    "__attrs_attrs__",
    "__total__",
    "_fields",
)  # dataclass, attrs, TypedDict, NamedTuple
_CONTAINERS = (dict, list, tuple, set, frozenset, Mapping, Sequence)


class RowTypeMismatch(ClientError):
    """A row does not fit the type that was asked for. The message names the column and the types, never a value."""


class RowDecoder(Generic[T]):
    """Makes objects of one type out of rows. Safe in any thread."""

    def __init__(self, row_type: type[T]) -> None:
        self._type = row_type
        self._name = getattr(row_type, "__name__", str(row_type))
        self._pydantic = callable(getattr(row_type, "model_validate", None))
        fields = _fields(row_type)
        self._single = fields is None
        self._positional = fields is not None and _is_subclass(row_type, tuple)
        hints: dict[str, Any] = {_SINGLE: row_type} if fields is None else fields
        self._codecs = {name: codec for name, hint in hints.items() if (codec := _codec(hint))}
        self._order = tuple(fields or ())

    def decode(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[T]:
        """All rows as objects. `names` are the columns of `rows`. Raises RowTypeMismatch."""
        if not rows:
            return []
        if self._single:
            return self._values(names, rows)
        plain = self._documents(names, rows)
        if self._pydantic:
            return self._models(plain)
        documents = (
            [tuple(row[name] for name in self._order if name in row) for row in plain] if self._positional else plain
        )
        return self._convert(documents)

    def _convert(self, values: list[Any]) -> list[T]:
        found: list[T] = []
        try:
            # In portions: one call holds the interpreter to its end, and with it the event loop.
            for start in range(0, len(values), CONVERTED_AT_ONCE):
                found += msgspec.convert(values[start : start + CONVERTED_AT_ONCE], list[self._type], strict=False)
        except msgspec.ValidationError as exc:
            raise self._mismatch(_without_values(str(exc))) from None
        return found

    def _values(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[T]:
        if len(names) != 1:
            raise RowTypeMismatch(
                f"{self._name} is a single value, and the query has {len(names)} columns.",
                hint="Select one column, or pass a dataclass, a msgspec.Struct, a TypedDict or a Pydantic model.",
            )
        codec = self._codecs.get(_SINGLE)
        values = [row[0] for row in rows]
        if codec is not None:
            values = [self._apply(codec, names[0], value) for value in values]
        return self._convert(values)

    def _documents(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        documents = [dict(zip(names, row, strict=True)) for row in rows]
        for name in names:
            codec = self._codecs.get(name)
            if codec is not None:
                for document in documents:
                    document[name] = self._apply(codec, name, document[name])
        return documents

    def _apply(self, codec: Callable[[Any], Any], name: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value  # NULL, or what the next step says is wrong
        try:
            return codec(value)
        except (ValueError, msgspec.DecodeError):
            raise self._mismatch(
                f"the text of column {name!r} cannot be read as the annotation of the field says"
            ) from None

    def _models(self, documents: list[dict[str, Any]]) -> list[T]:
        validate = cast("Callable[[Any], T]", self._type.model_validate)  # type: ignore[attr-defined]  # a model of pydantic
        try:
            return [validate(document) for document in documents]
        except ValueError as exc:
            errors = cast("Callable[..., list[dict[str, Any]]] | None", getattr(exc, "errors", None))
            if errors is None:
                raise
            told = "; ".join(
                f"{'.'.join(map(str, error['loc']))}: {error['type']}" for error in errors(include_input=False)
            )
            raise self._mismatch(told) from None

    def _mismatch(self, reason: str) -> RowTypeMismatch:
        return RowTypeMismatch(
            f"A row does not fit {self._name}: {reason}.",
            hint=f"Select the columns that {self._name} has, and annotate columns that can be NULL with `| None`.",
        )


@lru_cache(maxsize=TYPES_CACHED_MAX)
def row_decoder(row_type: type[T]) -> RowDecoder[T]:
    """The decoder of a type; made once."""
    return RowDecoder(row_type)


def _fields(row_type: Any) -> dict[str, Any] | None:
    """Column names and annotations of a record type; None for a type of single values."""
    if callable(getattr(row_type, "model_validate", None)):
        fields = cast("Mapping[str, Any]", row_type.model_fields)
        return {str(field.alias or name): field.annotation for name, field in fields.items()}
    if _is_subclass(row_type, msgspec.Struct):
        return {field.encode_name: field.type for field in msgspec.structs.fields(row_type)}
    if _is_subclass(row_type, object) and any(hasattr(row_type, mark) for mark in _RECORD_MARKS):
        return typing.get_type_hints(row_type)
    return None


def _codec(hint: Any) -> Callable[[Any], Any] | None:
    """How text of a column is turned before the type checks it; None where it is not."""
    members = _members(hint)
    for member in members:
        if member in _TIMES:
            return _TIMES[member]
    if str in members or Any in members:
        return None  # text is a value of its own here
    return msgspec.json.decode if any(_is_document(member) for member in members) else None


def _members(hint: Any) -> list[Any]:
    """The types that an annotation allows, without None, Annotated and the like."""
    origin = typing.get_origin(hint)
    if origin in (typing.Annotated, typing.Required, typing.NotRequired):
        return _members(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(hint) for member in _members(part) if member is not type(None)]
    if isinstance(hint, typing.NewType):
        return _members(hint.__supertype__)
    return [hint]


def _is_document(hint: Any) -> bool:
    """Whether values of a type are stored as JSON text."""
    plain = typing.get_origin(hint) or hint
    if any(_is_subclass(plain, container) for container in _CONTAINERS) and not _is_subclass(plain, str):
        return True
    return _fields(hint) is not None


def _is_subclass(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _without_values(message: str) -> str:
    """A message of msgspec without the value that some of them quote ("Invalid enum value 'x'")."""
    reason, found, place = message.rpartition(" - at ")
    if not found:
        reason, place = message, ""
    if reason.startswith("Invalid enum value"):
        reason = "Invalid enum value"
    column = place.strip("`").partition("]")[2].lstrip(".")
    return f"column {column!r}: {reason}" if column else reason
