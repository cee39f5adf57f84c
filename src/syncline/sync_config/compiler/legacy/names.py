"""What the names in a query of a bucket definition stand for (sync config reference, 8.1 and 8.2)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from syncline.sync_config.compiler.expressions import (
    ColumnValue,
    Expression,
    RequestValue,
    RowMeta,
    literal,
    walk,
)
from syncline.sync_config.compiler.schema_checks import ColumnReference
from syncline.sync_config.evaluation.context import ELEMENT_COLUMNS
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.syntax import ColumnName, FromItem, FunctionCall
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["BUCKET", "Names", "Parameters", "Side", "side_of", "table_pattern"]

BUCKET = "bucket"
"""Scope of `bucket.x`, a parameter of the definition; only matches read it, it is never evaluated."""

DEFAULT_SCHEMA = "public"
TABLE_SUFFIX = "_table_suffix"

_NAME_SCOPES = {"token_parameters": "token_parameters", "user_parameters": "connection"}
"""Names before the dot of the older way to read connection data, with the scope that they read."""


class Parameters(enum.Enum):
    """What a query can read beside its row."""

    NONE = "none"  # payload queries of events
    BUCKET = "bucket"  # data queries: the parameters of the definition
    REQUEST = "request"  # parameter queries: data of the connection


class Side(enum.Flag):
    """Which data an expression reads; none of them for a constant."""

    CONSTANT = 0
    ROW = enum.auto()
    PARAMETER = enum.auto()
    BOTH = ROW | PARAMETER


def side_of(expression: Expression) -> Side:
    """Which data an expression reads."""
    side = Side.CONSTANT
    for part in walk(expression):
        if isinstance(part, (ColumnValue, RowMeta)):
            side |= Side.ROW
        elif isinstance(part, RequestValue):
            side |= Side.PARAMETER
    return side


def table_pattern(item: FromItem) -> TablePattern:
    """The table that FROM names: `table`, `schema.table` or `"connection.schema".table`."""
    *qualifiers, name = item.parts
    if len(qualifiers) > 1:
        message = "A table is named by schema and name at most"
        raise SqlError(message, item.span, kind=ProblemKind.UNKNOWN_SOURCE, hint="Write schema.table.")
    qualifier = qualifiers[0] if qualifiers else DEFAULT_SCHEMA
    connection, dot, schema = qualifier.partition(".")
    return TablePattern(schema, name, connection) if dot else TablePattern(qualifier, name)


@dataclass(slots=True)
class Names:
    """The names of one query. `source` is the name of what stands in FROM; without `pattern`, that is `json_each`."""

    parameters: Parameters
    source: str | None = None
    pattern: TablePattern | None = None
    columns_read: list[ColumnReference] = field(default_factory=list[ColumnReference])

    @property
    def keeps_sides_apart(self) -> bool:
        """Whether an expression may read a row or parameters, but not both: values of a table's rows are stored in advance."""
        return self.pattern is not None

    def column(self, node: ColumnName) -> Expression:
        """What a name stands for. Raises SqlError for names of other tables and sets of parameters."""
        name = node.parts[-1]
        if len(node.parts) == 1:
            return self._own_column(name, node.span)
        qualifier = node.parts[-2]
        if qualifier == self.source:
            return self._own_column(name, node.span)
        if qualifier == BUCKET and self.parameters is Parameters.BUCKET:
            return RequestValue(BUCKET, literal(name))
        if qualifier in _NAME_SCOPES and self.parameters is Parameters.REQUEST:
            return RequestValue(_NAME_SCOPES[qualifier], literal(name))
        raise self._unknown(f'"{qualifier}" is no table and no set of parameters that this query can read', node.span)

    def check_source(self, qualifier: str, span: Span) -> None:
        """That `qualifier.*` means the table of this query."""
        if qualifier != self.source:
            raise self._unknown(f'"{qualifier}" is not the table of this query', span)

    def _own_column(self, name: str, span: Span) -> Expression:
        if self.source is None:
            raise self._unknown(f'There is no table whose column "{name}" could be', span)
        if self.pattern is None:
            if name not in ELEMENT_COLUMNS:
                raise self._unknown(f'json_each has no column "{name}", only key and value', span)
            return ColumnValue(0, name)
        if name == TABLE_SUFFIX and self.pattern.name.endswith("%"):
            return RowMeta(0, "table_suffix")
        self.columns_read.append(ColumnReference(name, span))
        return ColumnValue(0, name)

    def _unknown(self, message: str, span: Span) -> SqlError:
        known = [] if self.source is None else [f"{self.source}.…"]
        if self.parameters is Parameters.BUCKET:
            known.append("bucket.…")
        elif self.parameters is Parameters.REQUEST:
            known += [
                "request.user_id()",
                "request.jwt()",
                "request.parameters()",
                *(f"{name}.…" for name in _NAME_SCOPES),
            ]
        hint = f"Known here: {', '.join(known)}." if known else ""
        return SqlError(message, span, kind=ProblemKind.UNKNOWN_REFERENCE, hint=hint)

    def request_value(self, node: FunctionCall, arguments: tuple[Expression, ...]) -> Expression | None:
        """`request.user_id()`, `jwt()`, `parameters()`, `parameter('key')`; None for any other function."""
        if self.parameters is not Parameters.REQUEST or node.parts[:-1] != ("request",):
            return None
        match node.parts[-1]:
            case "user_id":
                return RequestValue("auth", literal("sub"))
            case "jwt":
                return RequestValue("auth", None)
            case "parameters":
                return RequestValue("connection", None)
            case "parameter":
                return self._one_parameter(node, arguments)
            case _:
                return None

    def _one_parameter(self, node: FunctionCall, arguments: tuple[Expression, ...]) -> Expression:
        if len(arguments) != 1:
            raise SqlError("request.parameter() takes one argument", node.span, kind=ProblemKind.ARGUMENT_COUNT)
        if Side.ROW in side_of(arguments[0]):
            message = "The key of request.parameter() may not depend on a row"
            raise SqlError(message, node.arguments[0].span, kind=ProblemKind.MIXED_SOURCES)
        return RequestValue("connection", arguments[0])
