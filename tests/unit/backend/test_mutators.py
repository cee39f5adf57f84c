from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, TypedDict
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, Field

from syncline.backend import MutationRefused, MutatorCall, Mutators, TablePolicy
from syncline.backend.mutators.arguments import argument_reader
from syncline.backend.mutators.registry import CallRules
from syncline.backend.persisters.base import RetryLater, WriteContext, WriteRefused
from syncline.errors import ConfigError
from syncline.protocol.crud import CrudOperation, UpdateType
from syncline.protocol.mutations import ARGUMENTS_CHARACTERS_MAX, arguments_text


class Struct(msgspec.Struct):
    id: str
    n: int = 1


@dataclass
class Data:
    id: UUID
    on: date
    price: Decimal = Decimal(0)


class Typed(TypedDict):
    id: str


class Model(BaseModel):
    id: str
    n: int = Field(default=1, le=9)
    note: str | None


def refused(model: Any, sent: Any) -> list[dict[str, Any]]:
    """The problems that a device is told."""
    with pytest.raises(WriteRefused) as raised:
        argument_reader(model)(sent, 4)
    assert (raised.value.error_code, raised.value.operation_index) == ("VALIDATION_ERROR", 4)
    return raised.value.details


def test_arguments_are_objects_of_the_declared_type() -> None:
    assert argument_reader(Struct)('{"id":"a","more":1}', 0) == Struct("a")
    key = UUID(int=7)
    sent = json.dumps({"id": str(key), "on": "2026-01-02", "price": "1.10"})
    assert argument_reader(Data)(sent, 0) == Data(key, date(2026, 1, 2), Decimal("1.10"))
    assert argument_reader(Typed)('{"id":"a"}', 0) == {"id": "a"}
    assert argument_reader(dict[str, Any])(None, 0) == {}
    assert argument_reader(dict[str, Any])({"parsed": [1]}, 0) == {"parsed": [1]}
    assert argument_reader(Model)('{"id":"a","note":null}', 0) == Model(id="a", note=None)


def test_what_does_not_fit_is_told_by_field_and_rule() -> None:
    assert refused(Struct, "{}") == [{"field": "id", "rule": "missing"}]
    assert refused(Struct, '{"id":"a","n":"secret"}') == [{"field": "n", "rule": "Expected `int`, got `str`"}]
    assert refused(Data, '{"id":"secret","on":"2026-01-02"}') == [{"field": "id", "rule": "invalid"}]
    assert refused(Model, '{"id":"a","n":10,"note":null}') == [{"field": "n", "rule": "less_than_equal", "le": 9}]
    assert refused(Model, '{"id":"a"}') == [{"rule": "invalid"}]  # `note` may be None, and has to be there
    assert refused(Model, "{") == [{"rule": "invalid"}]
    wrong: list[Any] = ["[]", "5", '"{}"', [], "\ud800"]
    for sent in wrong:
        assert refused(Struct, sent)
    assert refused(dict[str, Any], '{"a":' * 5_000) == [{"rule": "invalid"}]


def test_arguments_have_a_size() -> None:
    room = ARGUMENTS_CHARACTERS_MAX - len('{"id":""}')
    assert argument_reader(Struct)('{"id":"' + "x" * room + '"}', 0)
    problems = refused(Struct, '{"id":"' + "x" * (room + 1) + '"}')
    assert problems == [{"rule": "too long", "max_length": ARGUMENTS_CHARACTERS_MAX}]


def test_arguments_as_a_device_sends_them() -> None:
    assert arguments_text(None) == "{}"
    assert arguments_text(Struct("a")) == '{"id":"a","n":1}'
    assert json.loads(arguments_text(Model(id="a", note=None))) == {"id": "a", "n": 1, "note": None}
    for wrong in ([1], "text", object()):
        with pytest.raises(TypeError):
            arguments_text(wrong)
    with pytest.raises(ValueError, match="characters"):
        arguments_text({"id": "x" * ARGUMENTS_CHARACTERS_MAX})


def test_what_cannot_be_registered() -> None:
    mutators = Mutators()

    @mutators.register("named", arguments=Struct)
    async def function(call: MutatorCall, args: Any) -> None: ...

    def plain(call: MutatorCall, args: Struct) -> None: ...

    async def untyped(call: MutatorCall, args) -> None: ...  # type: ignore[no-untyped-def]  # pyright: ignore  # refused for it

    async def alone(call: MutatorCall) -> None: ...

    async def unreadable(call: MutatorCall, args: set[object]) -> None: ...

    with pytest.raises(ConfigError, match="twice"):
        mutators.register("named", arguments=Struct)(function)
    with pytest.raises(ConfigError, match="1 to 100"):
        mutators.register("x" * 101, arguments=Struct)(function)
    wrong: list[tuple[Any, str]] = [
        (plain, "coroutine"),
        (untyped, "no type"),
        (alone, "no type"),
        (unreadable, "cannot be read"),
    ]
    for one, message in wrong:
        with pytest.raises(ConfigError, match=message):
            mutators.register()(one)
    assert mutators.names == ["named"]
    with pytest.raises(ConfigError, match="cannot have a policy"):
        CallRules({"syncline_mutations": TablePolicy(owner=None)}, mutators)


@pytest.mark.parametrize("code", ["", "lower", "WITH SPACE", "1ST", "CLIENT_FORKED", "X" * 64])
def test_a_refusal_has_a_code_of_the_apps_own(code: str) -> None:
    with pytest.raises(ValueError, match="code"):
        MutationRefused(code)


def rules_of(mutators: Mutators) -> CallRules:
    return CallRules({"lists": TablePolicy(owner="owner_id")}, mutators)


def call_of(name: str, table: str = "syncline_mutations") -> CrudOperation:
    return CrudOperation(op=UpdateType.PUT, table=table, id="c1", op_data={"name": name, "args": "{}"})


def test_who_may_call_is_asked_and_a_failing_answer_lets_nobody_in() -> None:
    mutators = Mutators(table="mutator_calls")

    async def done(call: MutatorCall, args: dict[str, Any]) -> None: ...

    answers: list[Any] = ["yes", None, 1]
    mutators.register("truthy", allow=lambda _: answers.pop())(done)
    mutators.register("broken", allow=lambda context: context.claims["role"] == "x")(done)
    rules = rules_of(mutators)
    for _ in range(3):  # True is the only answer that lets in
        with pytest.raises(WriteRefused) as raised:
            rules.write(0, call_of("truthy", "mutator_calls"), WriteContext("ann"))
        assert raised.value.error_code == "UNAUTHORIZED"
    with pytest.raises(RetryLater):
        rules.write(0, call_of("broken", "mutator_calls"), WriteContext("ann"))
    with pytest.raises(WriteRefused) as raised:
        rules.write(0, call_of("truthy"), WriteContext("ann"))  # not the table of calls here
    assert raised.value.error_code == "SCHEMA_MISMATCH"


def test_other_tables_keep_their_policies() -> None:
    write = rules_of(Mutators()).write(
        2, CrudOperation(op=UpdateType.PUT, table="lists", id="l1", op_data={"name": "x"}), WriteContext("ann")
    )
    assert (write.table, write.owner, write.index, write.procedure) == ("lists", ("owner_id", "ann"), 2, None)
