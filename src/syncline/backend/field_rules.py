"""Rules for the fields of uploaded rows, as a Pydantic model or a msgspec Struct that the app has already.

A model judges what a device sends; it changes nothing: what is written is what was sent, and the persister converts it. A PATCH is judged
field by field, for it has changed columns only; rules over several fields (model validators, `__post_init__`) are judged on a PUT.
Problems name fields and declared limits, never values. Facts: docs/reference/write-path.md, 7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import msgspec

from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.errors import ConfigError
from syncline.protocol.crud import UpdateType

__all__ = ["FIELD_PROBLEMS_MAX", "FieldProblem", "FieldRules", "field_problems", "field_rules"]

FIELD_PROBLEMS_MAX = 20  # problems of one row that an answer lists: verdicts are stored

# What a Pydantic error says of the model's declaration. All else of an error may be the device's value, the message too.
_DECLARED = (
    "gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "max_digits", "decimal_places", "expected"
)  # fmt: skip

FieldProblem = dict[str, Any]
"""`field` (missing for a rule over several fields), `rule`, and declared limits such as `max_length`; ready for the answer's JSON."""


class FieldRules(Protocol):
    """What a table's fields must be. An app can write its own."""

    def problems(self, op: UpdateType, data: Mapping[str, Any]) -> list[FieldProblem]:
        """What is wrong with the columns of a PUT or PATCH; empty for nothing.

        What it raises counts as a failure of the backend, not of the row: the device keeps its write and tries again.
        """
        ...


def field_rules(model: Any) -> FieldRules:
    """The rules of a Pydantic model class, a msgspec Struct class, or an object with `problems`. Raises ConfigError for others."""
    if isinstance(model, type):
        if issubclass(model, msgspec.Struct):
            return _StructRules(model)
        if {"model_fields", "model_validate"} <= {*dir(cast("type[Any]", model))}:
            return _ModelRules(model)
    elif callable(getattr(model, "problems", None)):
        return cast("FieldRules", model)
    raise ConfigError(
        "Field rules are a Pydantic model, a msgspec Struct, or an object with `problems`.",
        hint="TablePolicy(fields=Todo), the class itself.",
    )


def field_problems(
    rules: FieldRules, op: UpdateType, data: Mapping[str, Any], filled: Mapping[str, Any]
) -> list[FieldProblem]:
    """What is wrong with a PUT or PATCH. `filled` are columns that the server fills: a model that has them sees them on a PUT."""
    if op is UpdateType.PUT and isinstance(rules, (_StructRules, _ModelRules)):
        data = {**{name: value for name, value in filled.items() if name in rules.names}, **data}
    return rules.problems(op, data)


class _StructRules:
    def __init__(self, model: type[msgspec.Struct]) -> None:
        self._model = model
        self._fields = {field.encode_name: field for field in msgspec.structs.fields(model)}
        self.names = frozenset(self._fields)

    def problems(self, op: UpdateType, data: Mapping[str, Any]) -> list[FieldProblem]:
        found: list[FieldProblem] = []
        for name, field in self._fields.items():
            if name in data:
                found += _struct_problem(data[name], field.type, name)
            elif op is UpdateType.PUT and field.required and _struct_problem(None, field.type, name):
                found.append({"field": name, "rule": "missing"})
        if not found and op is UpdateType.PUT:
            absent = {name: None for name, field in self._fields.items() if field.required and name not in data}
            found = _struct_problem({**data, **absent}, self._model, None)
        return found[:FIELD_PROBLEMS_MAX]


def _struct_problem(value: Any, expected: Any, name: str | None) -> list[FieldProblem]:
    try:
        msgspec.convert(value, expected, strict=False)
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError) as exc:
        text = str(exc).partition(" - at ")[0]
        # "Expected …" repeats the declaration; others may quote ("Invalid enum value 'x'"), and so may the app's own.
        rule = text if name is not None and text.startswith("Expected ") else "invalid"
        return [_problem(name, rule)]
    return []


class _ModelRules:
    def __init__(self, model: Any) -> None:
        self._validate = cast("Callable[[Any], Any]", model.model_validate)
        self.names = frozenset(_sent_name(name, field) for name, field in model.model_fields.items())
        self._required = [_sent_name(name, field) for name, field in model.model_fields.items() if field.is_required()]

    def problems(self, op: UpdateType, data: Mapping[str, Any]) -> list[FieldProblem]:
        from pydantic import ValidationError  # only apps whose rules are Pydantic models have it

        # A device leaves NULL columns out of a PUT, so a field that may be None is not missing.
        absent = {name for name in self._required if name not in data} if op is UpdateType.PUT else set[str]()
        try:
            self._validate({**data, **dict.fromkeys(absent)})
        except ValidationError as exc:
            errors = cast("list[dict[str, Any]]", exc.errors(include_url=False, include_input=False))
        except Exception:  # the app's own validator failed on this row; its text may quote the row
            return [_problem(None, "invalid")]
        else:
            return []
        found = [_model_problem(error, absent) for error in errors if _counts(error, op, data)]
        return found[:FIELD_PROBLEMS_MAX]


def _sent_name(name: str, field: Any) -> str:
    alias = field.validation_alias or field.alias
    return alias if isinstance(alias, str) else name


def _counts(error: dict[str, Any], op: UpdateType, data: Mapping[str, Any]) -> bool:
    return op is UpdateType.PUT or bool(error["loc"] and str(error["loc"][0]) in data)


def _model_problem(error: dict[str, Any], absent: set[str]) -> FieldProblem:
    if not error["loc"]:
        return _problem(None, str(error["type"]))
    name = str(error["loc"][0])
    if name in absent:
        return _problem(name, "missing")
    context = cast("dict[str, Any]", error.get("ctx") or {})
    # Limits may be of types that JSON has not, such as Decimal and date.
    limits = {key: _json(context[key]) for key in _DECLARED if key in context}
    return _problem(name, str(error["type"])) | limits


def _json(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)


def _problem(name: str | None, rule: str) -> FieldProblem:
    return ({} if name is None else {"field": name[:NAME_CHARACTERS_SHOWN_MAX]}) | {"rule": rule}
