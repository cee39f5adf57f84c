"""Names the constructs of expressions: operators, functions, casts, literals, and comparisons across kinds."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.sync_config_oracle.cases import Case
from tests.support.sync_config_oracle.query_tree import TableSource
from tests.support.sync_config_oracle.tree import (
    Between,
    Call,
    CaseWhen,
    Cast,
    ColumnOf,
    Constant,
    Infix,
    IsTest,
    JsonStep,
    Node,
    Parameter,
    RowMeta,
    UnaryPlus,
    UserId,
    walk,
)

__all__ = ["Kinds", "expression_constructs"]

_COMPARISONS = frozenset({"=", "!=", "<>", "<", "<=", ">", ">="})
_TYPES = {"text": "text", "integer": "integer", "bigint": "integer", "boolean": "integer", "double precision": "real"}


class Kinds:
    """What the values of simple expressions of a case are: text, integer or real."""

    def __init__(self, case: Case) -> None:
        self._types: dict[tuple[int, str], str] = {}
        self.partial: set[tuple[int, str]] = set()
        for source in walk(case.config):
            if isinstance(source, TableSource):
                tables = case.schema.matching(source.schema or "public", source.name)
                for column in {column for table in tables for column in table.columns}:
                    self._types[source.uid, column.name] = _TYPES[column.postgres_type]
                    if any(table.column(column.name) is None for table in tables):
                        self.partial.add((source.uid, column.name))

    def of(self, node: Node) -> str | None:
        """The kind of a column, a literal or the user id; None of all else."""
        match node:
            case ColumnOf():
                return self._types.get((node.source, node.name))
            case UserId() | RowMeta() | Constant(value=str()):
                return "text"
            case Constant(value=bool() | int()):
                return "integer"
            case Constant(value=float()):
                return "real"
            case Parameter(key="level"):
                return "real"
            case _:
                return None


def expression_constructs(part: object, kinds: Kinds) -> Iterator[str]:
    """Constructs of this part of a query, not of its parts."""
    match part:
        case Infix():
            yield part.operator
            yield from _comparison(part, kinds)
        case UnaryPlus():
            yield "unary +"
        case JsonStep():
            yield part.arrow
        case Cast():
            yield "::" if part.colons else "CAST(…)"
            yield f"to {part.type_name}"
        case Call():
            yield part.function.lower()
        case CaseWhen():
            yield "CASE" if part.operand is None else "CASE of a value"
            if part.otherwise is None:
                yield "CASE without ELSE"
        case IsTest():
            yield f"IS {'NOT ' * part.negated}{part.what}"
        case Between():
            yield f"{'NOT ' * part.negated}BETWEEN"
        case Constant(value=None):
            yield "NULL literal"
        case Constant(value=bool()):
            yield "truth literal"
        case RowMeta():
            yield f"{part.what}()"
        case Parameter(key=None):
            yield "parameters()"
        case ColumnOf() if (part.source, part.name) in kinds.partial:
            yield "column that only some tables have"
        case _:
            pass


def _comparison(node: Infix, kinds: Kinds) -> Iterator[str]:
    if node.operator in _COMPARISONS:
        both = {kinds.of(node.left), kinds.of(node.right)}
        if both == {"integer", "real"}:
            yield "integer compared with real"
        elif both in ({"text", "integer"}, {"text", "real"}):
            yield "number compared with text"
