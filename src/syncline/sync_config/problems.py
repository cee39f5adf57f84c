"""What is wrong with a sync config: every problem with its kind, its place, the line it stands in, and what to write instead."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["CONFIG_PARSE_CODE", "Problem", "ProblemKind", "Severity"]

CONFIG_PARSE_CODE = "PSYNC_R0001"
"""The field's code for everything that is wrong with a sync config (service-config reference, error codes)."""


class Severity(enum.StrEnum):
    """Whether the config can still be used."""

    WARNING = "warning"
    FATAL = "fatal"


class ProblemKind(enum.StrEnum):
    """What sort of problem it is: stable names, for programs that read problems. Texts may change, these do not."""

    # The YAML document
    YAML_SYNTAX = "yaml_syntax"  # not readable as YAML, or YAML that is not accepted here (aliases, tags)
    YAML_DUPLICATE_KEY = "yaml_duplicate_key"
    YAML_MULTIPLE_DOCUMENTS = "yaml_multiple_documents"
    EMPTY_CONFIG = "empty_config"
    ROOT_NOT_MAP = "root_not_map"
    UNKNOWN_KEY = "unknown_key"
    MISSING_KEY = "missing_key"
    CONFLICTING_KEYS = "conflicting_keys"  # query and queries
    EXPECTED_MAP = "expected_map"
    EXPECTED_LIST = "expected_list"
    EXPECTED_STRING = "expected_string"
    EXPECTED_NUMBER = "expected_number"
    EXPECTED_BOOLEAN = "expected_boolean"
    BAD_PRIORITY = "bad_priority"
    UNKNOWN_EDITION = "unknown_edition"
    UNKNOWN_PRECISION = "unknown_precision"
    UNKNOWN_STORAGE_VERSION = "unknown_storage_version"
    UNSTABLE_STORAGE_VERSION = "unstable_storage_version"  # warning
    PRECISION_NEEDS_ISO8601 = "precision_needs_iso8601"
    ENGINE_NEEDS_FIXED_JSON = "engine_needs_fixed_json"
    NEEDS_EDITION3 = "needs_edition3"
    NO_DEFINITIONS = "no_definitions"  # neither streams nor bucket_definitions
    STREAMS_MISSING = "streams_missing"  # edition 3 without streams
    STREAMS_NEED_EDITION = "streams_need_edition"  # streams without edition 3
    BUCKET_DEFINITIONS_IN_EDITION3 = "bucket_definitions_in_edition3"
    DUPLICATE_DEFINITION = "duplicate_definition"  # a stream and a bucket definition of one name
    ENGINE_UNAVAILABLE = "engine_unavailable"  # unstable_sqlite_expression_engine where no engine was given

    # The text of a query
    SQL_SYNTAX = "sql_syntax"
    NOT_A_SELECT = "not_a_select"
    MULTIPLE_STATEMENTS = "multiple_statements"
    UNSUPPORTED_CLAUSE = "unsupported_clause"
    UNSUPPORTED_JOIN = "unsupported_join"
    UNSUPPORTED_USING = "unsupported_using"
    UNSUPPORTED_LIKE = "unsupported_like"
    UNSUPPORTED_OPERATOR = "unsupported_operator"
    UNSUPPORTED_EXPRESSION = "unsupported_expression"
    BIND_PARAMETER = "bind_parameter"
    UNARY_MINUS = "unary_minus"
    SUBQUERY_POSITION = "subquery_position"
    TOO_LARGE = "too_large"  # a limit on the size or nesting of a query or document

    # Names and functions
    UNKNOWN_SOURCE = "unknown_source"
    UNKNOWN_REFERENCE = "unknown_reference"  # a table or set of parameters that the query does not select from
    UNKNOWN_FUNCTION = "unknown_function"
    BAD_FUNCTION_SCHEMA = "bad_function_schema"  # request.… where auth.… is meant
    UNKNOWN_REQUEST_FUNCTION = "unknown_request_function"
    USER_ID_ONLY_ON_AUTH = "user_id_only_on_auth"
    ARGUMENT_COUNT = "argument_count"
    BAD_CAST = "bad_cast"
    AMBIGUOUS_COLUMN = "ambiguous_column"
    DUPLICATE_NAME = "duplicate_name"
    UNKNOWN_SUBQUERY_COLUMN = "unknown_subquery_column"
    SUBQUERY_COLUMN_COUNT = "subquery_column_count"
    ONE_COLUMN_EXPECTED = "one_column_expected"
    STAR_IN_SUBQUERY = "star_in_subquery"
    METADATA_ON_SUBQUERY = "metadata_on_subquery"
    NOT_A_TABLE = "not_a_table"

    # What a query selects and how it is filtered
    NO_TABLE_COLUMN = "no_table_column"
    COLUMNS_FROM_SEVERAL_TABLES = "columns_from_several_tables"
    SELECTS_CONNECTION_VALUE = "selects_connection_value"
    MIXED_SOURCES = "mixed_sources"
    UNASSOCIATED_FILTER = "unassociated_filter"
    REQUEST_TABLE_FUNCTION_PARTITION = (
        "request_table_function_partition"  # connection data compared with connection data
    )
    TOO_MANY_TERMS = "too_many_terms"
    TOO_MANY_BUCKET_SOURCES = "too_many_bucket_sources"

    # Bucket definitions (sync rules)
    SINGLE_TABLE_ONLY = "single_table_only"
    STAR_NOT_ALLOWED = "star_not_allowed"
    ID_MISSING = "id_missing"
    PARAMETER_SETS_DIFFER = "parameter_sets_differ"
    UNUSED_BUCKET_PARAMETER = "unused_bucket_parameter"
    MATCH_NOT_ALLOWED_HERE = "match_not_allowed_here"
    BUCKET_PARAMETER_IN_EXPRESSION = "bucket_parameter_in_expression"
    BUCKET_PARAMETER_RIGHT_OF_IN = "bucket_parameter_right_of_in"
    OR_PARAMETERS_DIFFER = "or_parameters_differ"
    SEVERAL_ARRAY_MATCHES = "several_array_matches"
    PRIORITY_TWICE = "priority_twice"

    # Warnings: the config can be used, but probably means something else
    UNAUTHENTICATED_PARAMETERS = "unauthenticated_parameters"
    ALIAS_ON_JOINED_TABLE = "alias_on_joined_table"
    UNNAMED_COLUMN = "unnamed_column"  # fatal in sync rules
    STAR_AFTER_ALIAS = "star_after_alias"
    UNUSED_CTE = "unused_cte"
    SHADOWING_CTE = "shadowing_cte"  # a CTE with the name of a table
    SUFFIX_WITHOUT_WILDCARD = "suffix_without_wildcard"
    FOLDED_IDENTIFIER = "folded_identifier"
    UNKNOWN_TABLE = "unknown_table"
    UNKNOWN_COLUMN = "unknown_column"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `line` and `column` count from 1; `start_offset`/`end_offset` are characters of the document."""

    severity: Severity
    kind: ProblemKind
    message: str
    line: int = 1
    column: int = 1
    source_line: str = ""
    hint: str = ""
    start_offset: int = 0
    end_offset: int = 0

    def __str__(self) -> str:
        place = f"{self.severity}: line {self.line}, column {self.column}: {self.message}"
        parts = [place]
        if self.source_line:
            parts += [f"    {self.source_line}", "    " + " " * (self.column - 1) + "^"]
        if self.hint:
            parts += [
                f"    {'hint: ' if number == 0 else '      '}{line}"
                for number, line in enumerate(self.hint.split("\n"))
            ]
        return "\n".join(parts)
