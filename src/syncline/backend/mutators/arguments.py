"""The arguments of a call, read as the type that the app has declared. PURE. Refusals name fields and rules, never values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import msgspec

from syncline.backend.field_rules import FieldProblem, field_rules
from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.backend.persisters.base import WriteRefused
from syncline.errors import ConfigError
from syncline.protocol.crud import UpdateType
from syncline.protocol.mutations import ARGUMENTS_CHARACTERS_MAX, is_pydantic

__all__ = ["ReadArguments", "argument_reader"]

ReadArguments = Callable[[Any, int], Any]
"""(what was sent, operation index) to the arguments. Raises WriteRefused (VALIDATION_ERROR)."""

_PLACE = re.compile(r" - at `\$\.([^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `([^`]+)`")


def argument_reader(model: Any) -> ReadArguments:
    """How the arguments of a mutator are read; `model` is a msgspec Struct, a dataclass, a TypedDict, a Pydantic model or a mapping type.

    Raises ConfigError for a type that cannot be read from a JSON object.
    """
    if is_pydantic(model):
        return _pydantic_reader(model)
    try:
        decoder = msgspec.json.Decoder(model)
        msgspec.json.schema(model)
    except (TypeError, NotImplementedError) as exc:
        raise ConfigError(
            f"The arguments of a mutator cannot be read as {getattr(model, '__name__', model)}.",
            hint="Use a msgspec Struct, a dataclass, a TypedDict, a Pydantic model, or dict[str, Any].",
        ) from exc

    def read(sent: Any, index: int) -> Any:
        text = _text(sent, index)
        try:
            return decoder.decode(text)
        except msgspec.ValidationError as exc:
            raise _refused([_problem(str(exc))], index) from None
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise _refused([{"rule": "invalid"}], index) from None

    return read


def _pydantic_reader(model: Any) -> ReadArguments:
    rules = field_rules(model)

    def read(sent: Any, index: int) -> Any:
        text = _text(sent, index)
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise _refused([{"rule": "invalid"}], index) from None
        try:
            return model.model_validate(document)
        except ValueError:  # what Pydantic raises; its text quotes values
            problems = rules.problems(UpdateType.PUT, cast("dict[str, Any]", document))
            raise _refused(problems or [{"rule": "invalid"}], index) from None

    return read


def _text(sent: Any, index: int) -> str:
    """The text of a JSON object. SDKs send what stands in the column; a connector of an app's own may have parsed it."""
    if sent is None:
        return "{}"
    text = sent if isinstance(sent, str) else msgspec.json.encode(sent).decode()
    if len(text) > ARGUMENTS_CHARACTERS_MAX:
        raise _refused([{"rule": "too long", "max_length": ARGUMENTS_CHARACTERS_MAX}], index)
    if not text.lstrip().startswith("{"):
        raise _refused([{"rule": "Expected `object`"}], index)
    return text


def _problem(text: str) -> FieldProblem:
    """What msgspec says, without what it quotes: only "Expected …" and "missing" repeat the declaration alone."""
    missing = _MISSING.match(text)
    place = _PLACE.search(text)
    path = place[1] if place else ""
    if missing:
        return {"field": ".".join(filter(None, (path, missing[1]))), "rule": "missing"}
    rule = text.partition(" - at ")[0]
    named = {"field": path[:NAME_CHARACTERS_SHOWN_MAX]} if path else dict[str, Any]()
    return named | {"rule": rule if rule.startswith("Expected ") else "invalid"}


def _refused(problems: list[FieldProblem], index: int) -> WriteRefused:
    where = ", ".join(dict.fromkeys(str(problem.get("field", "the object")) for problem in problems))
    return WriteRefused(
        "VALIDATION_ERROR",
        f"The arguments of the mutator break its rules: {where}.",
        operation_index=index,
        details=problems,
    )
