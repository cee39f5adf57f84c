"""PURE: the YAML document of a sync config: its keys, their types, and the places of everything (sync config reference, section 1)."""

from __future__ import annotations

from syncline.sync_config.document.model import (
    ConfigDocument,
    DefinitionDocument,
    EventDocument,
    StreamDocument,
)
from syncline.sync_config.document.reader import parse_document

__all__ = ["ConfigDocument", "DefinitionDocument", "EventDocument", "StreamDocument", "parse_document"]
