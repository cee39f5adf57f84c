"""Configs with one bucket definition, named `b`, and what becomes of rows and connections under them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from syncline.errors import SyncConfigError
from syncline.sync_config import CompiledPlan, compile_sync_config
from syncline.sync_config.problems import Problem, ProblemKind, Severity
from tests.unit.sync_config.resolving import Rows, evaluate, resolve

TOKEN: dict[str, Any] = {"sub": "u1", "parameters": {"region": "eu"}}
CLIENT: dict[str, Any] = {"p": "x"}


def config_of(
    data: str | list[str],
    parameters: str | list[str] | None = None,
    *,
    options: dict[str, Any] | None = None,
    **keys: Any,
) -> str:
    """The YAML text of a config with one definition; `options` go under `config`, `keys` into the definition."""
    definition: dict[str, Any] = {**keys}
    if parameters is not None:
        definition["parameters"] = parameters
    definition["data"] = [data] if isinstance(data, str) else data
    config = {"config": options} if options else {}
    return yaml.safe_dump({**config, "bucket_definitions": {"b": definition}}, sort_keys=False, width=1000)


def plan_of(data: str | list[str], parameters: str | list[str] | None = None, **keys: Any) -> CompiledPlan:
    """The plan of a config with one definition."""
    return compile_sync_config(config_of(data, parameters, **keys))


def buckets_of_row(plan: CompiledPlan, table: str, row: dict[str, Any]) -> list[str]:
    """Names of the buckets that a row stands in, sorted; the version is 1."""
    evaluation = evaluate(plan, table, row, "1#")
    assert not evaluation.errors
    return sorted(found.bucket for found in evaluation.rows)


def buckets_of_user(
    plan: CompiledPlan, rows: Rows = (), token: dict[str, Any] = TOKEN, parameters: dict[str, Any] = CLIENT
) -> list[str]:
    """Names of the buckets of a connection, sorted; the version is 5."""
    resolved = resolve(plan, rows, token, parameters=parameters)
    assert not [stream.errors for stream in resolved.streams if stream.errors]
    return sorted(bucket.name for bucket in resolved.buckets)


def problems_of(data: str | list[str], parameters: str | list[str] | None = None, **keys: Any) -> list[Problem]:
    """The fatal problems of a config with one definition."""
    with pytest.raises(SyncConfigError) as raised:
        plan_of(data, parameters, **keys)
    return [problem for problem in raised.value.problems if problem.severity is Severity.FATAL]


def kinds_of(data: str | list[str], parameters: str | list[str] | None = None, **keys: Any) -> list[ProblemKind]:
    """The kinds of the fatal problems of a config with one definition."""
    return [problem.kind for problem in problems_of(data, parameters, **keys)]


def warnings_of(data: str | list[str], parameters: str | list[str] | None = None, **keys: Any) -> list[ProblemKind]:
    """The kinds of the warnings of a config that can be used."""
    return [problem.kind for problem in plan_of(data, parameters, **keys).warnings]
