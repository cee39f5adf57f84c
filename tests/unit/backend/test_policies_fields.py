from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, ConfigDict, Field, Json, field_validator, model_validator

from syncline.backend import AuthenticatedUser, TablePolicy
from syncline.backend.field_rules import FIELD_PROBLEMS_MAX, FieldProblem, field_rules
from syncline.protocol.crud import UpdateType
from tests.unit.backend.asgi import RecordingPersister, make_backend, operation, upload
from tests.unit.backend.test_core import ANN

SECRET = "s3cret"


class Kind(enum.Enum):
    A = "a"
    B = "b"


class Todo(BaseModel):
    name: str = Field(min_length=1, max_length=10)
    note: str | None
    done: bool = False
    kind: Literal["a", "b"] = "a"
    price: Decimal | None = Field(default=None, le=Decimal("9.5"))
    due: dt.date | None = Field(default=None, ge=dt.date(2020, 1, 1))
    tags: Json[list[str]] | None = None
    slug: str | None = Field(default=None, alias="short-name", pattern="^[a-z]+$")

    @field_validator("note")
    @classmethod
    def polite(cls, value: str | None) -> str | None:
        if value == SECRET:
            raise ValueError(f"{value} is not polite")
        return value

    @model_validator(mode="after")
    def done_has_a_note(self) -> Todo:
        if self.done and self.note is None:
            raise ValueError(f"{self.name} is done without a note")
        return self


class TodoStruct(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=10)]
    note: str | None
    done: bool = False
    kind: Kind = Kind.A
    due: dt.date | None = None

    def __post_init__(self) -> None:
        if self.done and self.note is None:
            raise ValueError(f"{self.name} is done without a note")


def problems(model: Any, op: str, **data: Any) -> list[FieldProblem]:
    return field_rules(model).problems(UpdateType(op), data)


@pytest.mark.parametrize("model", [Todo, TodoStruct])
@pytest.mark.parametrize(
    ("op", "data"),
    [
        ("PUT", {"name": "x"}),  # a device leaves NULL columns out
        ("PUT", {"name": "x", "note": "y", "done": 1, "kind": "b", "due": "2026-01-02", "column of no field": 1}),
        ("PATCH", {"done": 1}),  # rules over several fields wait for a PUT
        ("PATCH", {"note": None}),
        ("PATCH", {}),
    ],
)
def test_what_keeps_the_rules_passes(model: Any, op: str, data: dict[str, Any]) -> None:
    assert problems(model, op, **data) == []


@pytest.mark.parametrize("model", [Todo, TodoStruct])
def test_a_field_that_must_be_there_is_missing_from_a_put_only(model: Any) -> None:
    assert problems(model, "PUT", note="x") == [{"field": "name", "rule": "missing"}]
    assert problems(model, "PATCH", note="x") == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": "x" * 11}, {"field": "name", "rule": "string_too_long", "max_length": 10}),
        ({"name": None}, {"field": "name", "rule": "string_type"}),
        ({"done": SECRET}, {"field": "done", "rule": "bool_parsing"}),
        ({"kind": SECRET}, {"field": "kind", "rule": "literal_error", "expected": "'a' or 'b'"}),
        ({"price": "10"}, {"field": "price", "rule": "less_than_equal", "le": "9.5"}),
        ({"due": "2019-12-31"}, {"field": "due", "rule": "greater_than_equal", "ge": "2020-01-01"}),
        ({"tags": f"[{SECRET}"}, {"field": "tags", "rule": "json_invalid"}),
        ({"tags": '["a", 1]'}, {"field": "tags", "rule": "string_type"}),
        ({"note": SECRET}, {"field": "note", "rule": "value_error"}),
        ({"short-name": "X1"}, {"field": "short-name", "rule": "string_pattern_mismatch", "pattern": "^[a-z]+$"}),
    ],
)
def test_a_model_names_the_field_and_its_declared_limit(data: dict[str, Any], expected: FieldProblem) -> None:
    assert problems(Todo, "PATCH", **data) == [expected]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"name": "x" * 11}, {"field": "name", "rule": "Expected `str` of length <= 10"}),
        ({"name": None}, {"field": "name", "rule": "Expected `str`, got `null`"}),
        ({"kind": SECRET}, {"field": "kind", "rule": "invalid"}),
        ({"due": SECRET}, {"field": "due", "rule": "invalid"}),
    ],
)
def test_a_struct_names_the_field_and_what_was_expected(data: dict[str, Any], expected: FieldProblem) -> None:
    assert problems(TodoStruct, "PATCH", **data) == [expected]


@pytest.mark.parametrize(("model", "rule"), [(Todo, "value_error"), (TodoStruct, "invalid")])
def test_rules_over_several_fields_name_no_field(model: Any, rule: str) -> None:
    assert problems(model, "PUT", name=SECRET, done=1) == [{"rule": rule}]


def test_all_problems_of_a_row_come_at_once_up_to_the_limit() -> None:
    assert len(problems(TodoStruct, "PATCH", name="", kind=1, due=2)) == 3

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")

    found = problems(Strict, "PATCH", **{f"{i}{'x' * 100}": SECRET for i in range(FIELD_PROBLEMS_MAX + 1)})
    assert len(found) == FIELD_PROBLEMS_MAX
    assert SECRET not in str(found)
    assert len(str(found)) < 120 * FIELD_PROBLEMS_MAX


def test_a_validator_that_breaks_refuses_the_row() -> None:
    class Broken(BaseModel):
        name: str

        @field_validator("name")
        @classmethod
        def fails(cls, value: str) -> str:
            raise RuntimeError(value)

    assert problems(Broken, "PUT", name=SECRET) == [{"rule": "invalid"}]


def test_an_app_can_write_its_own_rules() -> None:
    class NoX:
        def problems(self, op: UpdateType, data: dict[str, Any]) -> list[FieldProblem]:
            return [{"field": "x", "rule": "forbidden"}] if "x" in data else []

    rules = NoX()
    assert field_rules(rules) is rules


@pytest.mark.requirement(128)
async def test_the_answer_says_which_fields_are_wrong_and_quotes_none() -> None:
    tables = {"lists": TablePolicy(owner="owner_id", fields=Todo)}
    persister = RecordingPersister()
    body = upload([operation(op_data={"name": SECRET * 3, "done": SECRET})])
    answer = await make_backend(persister, tables=tables).handle_upload(body, ANN)
    text = msgspec.json.encode(answer).decode()
    [result] = msgspec.json.decode(text)["results"]
    assert result["failed_operation"]["error_code"] == "VALIDATION_ERROR"
    assert [problem["field"] for problem in result["failed_operation"]["details"]] == ["name", "done"]
    assert "name, done" in result["message"]
    assert SECRET not in text
    assert persister.applied == []


async def test_rules_that_fail_leave_the_write_with_the_device(caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        def problems(self, op: UpdateType, data: Any) -> list[FieldProblem]:
            raise OSError(f"{op} {data}")

    persister = RecordingPersister()
    backend = make_backend(persister, tables={"lists": TablePolicy(owner=None, fields=Failing())})
    answer = await backend.handle_upload(upload([operation(op_data={"name": SECRET})]), ANN)
    text = msgspec.json.encode(answer).decode()
    assert "retryable_error" in text
    assert "OSError" in caplog.text
    assert SECRET not in caplog.text + text
    assert persister.applied == []


class Owned(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = Field(pattern="^l")
    owner_id: str
    org_id: int
    name: str | None

    @model_validator(mode="after")
    def named(self) -> Owned:
        if self.name is None:
            raise ValueError("a name")
        return self


class OwnedStruct(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern="^l")]
    owner_id: str
    org_id: int
    name: str | None

    def __post_init__(self) -> None:
        if self.name is None:
            raise ValueError("a name")


@pytest.mark.parametrize("model", [Owned, OwnedStruct])
async def test_a_model_of_the_whole_row_sees_what_the_server_fills(model: Any) -> None:
    tables = {"lists": TablePolicy(owner="owner_id", tenants={"org_id": "org"}, fields=model)}
    crud = [
        [operation(op_data={"name": "x", "owner_id": 5})],
        [operation("PATCH", row_id="other", op_data={"name": "x"})],
        [operation(row_id="other", op_data={"name": "x"})],
        [operation()],
    ]
    backend = make_backend(tables=tables, on_fatal="skip")
    answer = await backend.handle_upload(upload(*crud), AuthenticatedUser("ann", {"org": 1}))
    results: list[dict[str, Any]] = msgspec.json.decode(msgspec.json.encode(answer))["results"]
    assert [result["status"] for result in results] == ["success", "success", "fatal_error", "fatal_error"]
    assert results[2]["failed_operation"]["details"][0]["field"] == "id"
    assert "field" not in results[3]["failed_operation"]["details"][0]


async def test_a_delete_has_no_fields_to_judge() -> None:
    persister = RecordingPersister()
    backend = make_backend(persister, tables={"lists": TablePolicy(owner="owner_id", fields=Todo)})
    await backend.handle_upload(upload([operation("DELETE")]), ANN)
    assert len(persister.applied) == 1
