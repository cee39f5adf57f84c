from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import orjson

from syncline.api.admin.routes import AdminRoutes
from syncline.api.answers import error_body
from syncline.api.app import ServiceApp
from syncline.api.openapi import OPENAPI, OPENAPI_BODY
from syncline.api.probes import Probes
from syncline.auth.api_tokens import ApiTokens
from syncline.errors import RequestInvalid

COMMITTED = Path(__file__).parents[3] / "docs" / "reference" / "openapi.json"


def test_the_committed_document_is_the_one_that_is_served() -> None:
    assert COMMITTED.read_bytes() == OPENAPI_BODY, (
        "write syncline.api.openapi.OPENAPI_BODY to docs/reference/openapi.json"
    )


def test_the_document_has_every_route_and_no_other() -> None:
    nothing = cast("Any", None)
    admin = AdminRoutes(
        tokens=ApiTokens([]),
        connection=nothing,
        inspector=nothing,
        deployments=nothing,
        diagnostics=nothing,
        users=nothing,
    )
    probes = Probes(is_ready=lambda: True, touched_s=lambda: 0.0)
    app = ServiceApp(
        stream=nothing,
        verifier=nothing,
        write_checkpoints=nothing,
        probes=probes,
        admin=admin.handlers(),
        replication_wait=cast("Any", object()),
    )
    documented = {(method.upper(), path) for path, methods in OPENAPI["paths"].items() for method in methods}
    assert app.routes == documented


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    used: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            entries = cast("dict[str, object]", value)
            reference = entries.get("$ref")
            if isinstance(reference, str):
                used.add(reference)
            for entry in entries.values():
                walk(entry)
        elif isinstance(value, list):
            for item in cast("list[object]", value):
                walk(item)

    walk(OPENAPI)
    components = OPENAPI["components"]
    there = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in components[kind]}
    assert used == there


def test_errors_have_the_envelope_that_the_document_says() -> None:
    error = orjson.loads(error_body(RequestInvalid(["half a character \ud83d is no JSON"])))["error"]
    properties = OPENAPI["components"]["schemas"]["Error"]["properties"]["error"]
    assert set(properties["required"]) <= set(error) <= set(properties["properties"])
