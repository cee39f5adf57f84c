"""Reads `config:` (sync config reference, 1.1)."""

from __future__ import annotations

from syncline.sync_config.document.nodes import NodeReader
from syncline.sync_config.options import ConfigOptions, TimestampPrecision
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.yaml_nodes import YamlMap, YamlScalar

__all__ = ["read_options"]

LATEST_EDITION = 3

_EDITION_FLAGS = ("timestamps_iso8601", "versioned_bucket_ids", "fixed_json_extract", "custom_postgres_types")
"""Options that are on from edition 2."""
_ENGINE = "unstable_sqlite_expression_engine"
_KEYS = ("edition", *_EDITION_FLAGS, _ENGINE, "timestamp_max_precision", "storage_version")
_PRECISIONS = {precision.name.lower(): precision for precision in TimestampPrecision}


def read_options(root: YamlMap, nodes: NodeReader) -> ConfigOptions:
    """The options in effect."""
    config = nodes.map_at(root, "config")
    if config is None:
        return ConfigOptions()
    nodes.refuse_unknown(config, _KEYS, "config")
    edition = _edition(config, nodes)
    flags = {name: nodes.boolean(config, name, default=edition >= 2) for name in _EDITION_FLAGS}
    options = ConfigOptions(
        edition,
        **flags,
        unstable_sqlite_expression_engine=nodes.boolean(config, _ENGINE, default=False),
        timestamp_max_precision=_precision(config, nodes),
        storage_version=_storage_version(config, nodes),
    )
    _check_combinations(config, options, nodes)
    return options


def _edition(config: YamlMap, nodes: NodeReader) -> int:
    edition = nodes.integer(config, "edition")
    if edition is None:
        return 1
    if 0 <= edition <= LATEST_EDITION:
        return max(edition, 1)
    span = config.entries["edition"][1].span
    message = f"There is no edition {edition}"
    nodes.problems.fatal(ProblemKind.UNKNOWN_EDITION, message, span, hint=f"The latest is {LATEST_EDITION}.")
    return LATEST_EDITION


def _precision(config: YamlMap, nodes: NodeReader) -> TimestampPrecision | None:
    if "timestamp_max_precision" not in config.entries:
        return None
    node = config.entries["timestamp_max_precision"][1]
    value = node.value if isinstance(node, YamlScalar) else None
    if isinstance(value, str) and value in _PRECISIONS:
        return _PRECISIONS[value]
    kind = ProblemKind.UNKNOWN_PRECISION if isinstance(value, str) else ProblemKind.EXPECTED_STRING
    hint = f"One of {', '.join(_PRECISIONS)}."
    nodes.problems.fatal(kind, "timestamp_max_precision has an unknown value", node.span, hint=hint)
    return None


def _storage_version(config: YamlMap, nodes: NodeReader) -> int:
    version = nodes.integer(config, "storage_version")
    if version in (None, 2):
        return 2
    span = config.entries["storage_version"][1].span
    if version == 3:
        message = "storage_version 3 is unstable and has no meaning here"
        nodes.problems.warn(ProblemKind.UNSTABLE_STORAGE_VERSION, message, span, hint="Leave it out.")
        return 3
    message = f"There is no storage_version {version}"
    nodes.problems.fatal(ProblemKind.UNKNOWN_STORAGE_VERSION, message, span, hint="Leave it out, or write 2.")
    return 2


def _check_combinations(config: YamlMap, options: ConfigOptions, nodes: NodeReader) -> None:
    if options.timestamp_max_precision is not None and not options.timestamps_iso8601:
        nodes.problems.fatal(
            ProblemKind.PRECISION_NEEDS_ISO8601,
            "timestamp_max_precision needs timestamps_iso8601",
            config.span,
            hint="Write timestamps_iso8601: true beside it.",
        )
    if options.unstable_sqlite_expression_engine:
        if options.edition < LATEST_EDITION:
            message = f"{_ENGINE} needs edition {LATEST_EDITION}"
            nodes.problems.fatal(ProblemKind.NEEDS_EDITION3, message, config.span)
        elif not options.fixed_json_extract:
            message = f"{_ENGINE} needs fixed_json_extract"
            nodes.problems.fatal(ProblemKind.ENGINE_NEEDS_FIXED_JSON, message, config.span)
