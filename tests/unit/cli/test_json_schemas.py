"""The JSON Schemas for editors: they take what the service takes, and know the same keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from syncline.cli.json_schemas import cli_schema, service_config_schema, sync_config_schema
from syncline.cli.project_templates import TEMPLATES, template_files
from syncline.sync_config.document import definitions, options, reader, streams

FIXTURES = Path(__file__).parents[2] / "fixtures"
STREAMS = "config: {edition: 3}\nstreams:\n  a: "


def accepts(schema: dict[str, Any], text: str) -> bool:
    return jsonschema_rs.validator_for(schema).is_valid(yaml.safe_load(text.replace("!env ", "")))


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_init_writes_is_taken(template: str) -> None:
    files = template_files(template)
    assert accepts(service_config_schema(), files["powersync/service.yaml"])
    assert accepts(sync_config_schema(), files["powersync/sync-config.yaml"])
    assert accepts(cli_schema(), files["powersync/cli.yaml"])


@pytest.mark.parametrize("path", sorted((FIXTURES / "golden").glob("golden-*.yaml")), ids=lambda path: path.name)
def test_recorded_sync_configs_are_taken(path: Path) -> None:
    assert accepts(sync_config_schema(), path.read_text("utf-8"))


def test_the_keys_are_those_that_the_reader_knows() -> None:
    schema = sync_config_schema()["properties"]
    assert tuple(schema) == ("config", "streams", "with", "bucket_definitions", "event_definitions")
    assert set(schema) == set(reader._ROOT_KEYS)
    assert set(schema["config"]["properties"]) == set(options._KEYS)
    assert set(schema["streams"]["additionalProperties"]["properties"]) == set(streams._KEYS)
    assert set(schema["bucket_definitions"]["additionalProperties"]["properties"]) == set(definitions._DEFINITION_KEYS)
    assert set(schema["event_definitions"]["additionalProperties"]["properties"]) == set(definitions._EVENT_KEYS)


@pytest.mark.parametrize(
    "text",
    [
        f"{STREAMS}{{query: SELECT 1, queri: x}}",
        f"{STREAMS}{{query: SELECT 1, priority: 4}}",
        f"{STREAMS}{{query: SELECT 1, queries: [SELECT 1]}}",
        f"{STREAMS}{{auto_subscribe: true}}",
        "config: {edition: 4}",
        "stream: {}",
    ],
)
def test_mistakes_are_shown_in_the_editor(text: str) -> None:
    assert not accepts(sync_config_schema(), text)
