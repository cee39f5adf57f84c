"""Renders query trees as sync config: the SQL of the language, with as few parentheses as its precedence allows, inside of YAML."""

from __future__ import annotations

import json
import re

from tests.support.sync_config_oracle.query_tree import (
    Config,
    Derived,
    Elements,
    NamedSelect,
    Output,
    Relation,
    Select,
    Source,
    Star,
    Stream,
    TableSource,
)
from tests.support.sync_config_oracle.tree import (
    Between,
    Call,
    CaseWhen,
    Cast,
    ColumnOf,
    Constant,
    InArray,
    Infix,
    InJson,
    InSelect,
    IsTest,
    JsonStep,
    Logic,
    Negation,
    Node,
    Overlap,
    Parameter,
    RowMeta,
    UnaryPlus,
    UserId,
    walk,
)

__all__ = ["config_text", "query_sql"]

_OR, _AND, _NOT, _COMPARE, _OTHER, _ADD, _MULTIPLY, _MEMBER, _SIGN, _CAST, _ATOM = range(1, 12)
_POWER = {
    "&": _OTHER,
    "|": _OTHER,
    "<<": _OTHER,
    ">>": _OTHER,
    "+": _ADD,
    "-": _ADD,
    "||": _ADD,
    "*": _MULTIPLY,
    "/": _MULTIPLY,
    "%": _MULTIPLY,
}
_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_]*")


def config_text(config: Config) -> str:
    """The YAML of a config."""
    lines = ["config: {edition: 3}"]
    if config.named:
        lines += ["with:", *_named(config.named, 2)]
    lines.append("streams:")
    for stream in config.streams:
        lines += _stream(stream)
    return "\n".join(lines) + "\n"


def _stream(stream: Stream) -> list[str]:
    lines = [f"  {stream.name}:", f"    auto_subscribe: {str(stream.auto_subscribe).lower()}"]
    lines.append("    accept_potentially_dangerous_queries: true")
    if stream.named:
        lines += ["    with:", *_named(stream.named, 6)]
    queries = [_quoted(query_sql(query)) for query in stream.queries]
    if len(queries) == 1:
        return [*lines, f"    query: {queries[0]}"]
    return [*lines, "    queries:", *(f"      - {query}" for query in queries)]


def _named(selects: tuple[NamedSelect, ...], indent: int) -> list[str]:
    return [f"{' ' * indent}{named.name}: {_quoted(query_sql(named.select))}" for named in selects]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a double-quoted YAML string


def query_sql(select: Select) -> str:
    """The text of one SELECT."""
    return _SelectText(select).text()


def _name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else f'"{name}"'


def _constant(value: str | float | bool | None) -> tuple[str, int]:
    if value is None:
        return "NULL", _ATOM
    if isinstance(value, bool):
        return str(value).upper(), _ATOM
    if isinstance(value, str):
        return f"'{value.replace(chr(39), chr(39) * 2)}'", _ATOM
    return repr(value), _SIGN if value < 0 else _ATOM


class _SelectText:
    def __init__(self, select: Select, outer: dict[int, str] | None = None) -> None:
        self._select = select
        self._names = dict(outer or {})  # sources by uid, as they are written
        self._bare: int | None = None
        for part in walk(tuple(source.relation for source in select.sources)):
            if isinstance(part, (TableSource, Derived, Elements)):
                self._names[part.uid] = _name(
                    (part.alias or part.name) if isinstance(part, TableSource) else part.alias
                )
        if select.bare:
            self._bare = select.sources[0].relation.uid

    def text(self) -> str:
        columns = ", ".join(self._column(column) for column in self._select.columns)
        sources = "".join(self._source(source, first=index == 0) for index, source in enumerate(self._select.sources))
        where = "" if self._select.where is None else f" WHERE {self._at(self._select.where, _OR)}"
        return f"SELECT {columns} FROM {sources}{where}"

    def _column(self, column: Star | Output) -> str:
        if isinstance(column, Star):
            return f"{self._names[column.source]}.*" if column.qualified else "*"
        value = self._at(column.value, _OR)
        return value if column.alias is None else f"{value} AS {_name(column.alias)}"

    def _source(self, source: Source, *, first: bool) -> str:
        text = self._relation(source.relation)
        if first:
            return text
        if source.comma:
            return f", {text}"
        condition = "" if source.condition is None else f" ON {self._at(source.condition, _OR)}"
        return f" JOIN {text}{condition}"

    def _relation(self, relation: Relation) -> str:
        if isinstance(relation, TableSource):
            schema = "" if relation.schema is None else f"{_name(relation.schema)}."
            alias = "" if relation.alias is None else f" AS {_name(relation.alias)}"
            return f"{schema}{_name(relation.name)}{alias}"
        if isinstance(relation, Elements):
            return f"json_each({self._at(relation.argument, _OR)}) AS {_name(relation.alias)}"
        if isinstance(relation.target, NamedSelect):
            name = relation.target.name
            return name if relation.alias == name else f"{name} AS {_name(relation.alias)}"
        names = f" ({', '.join(map(_name, relation.columns))})" if relation.columns else ""
        return f"({query_sql(relation.target)}) AS {_name(relation.alias)}{names}"

    def _at(self, node: Node, power: int) -> str:
        """Text of a node, in parentheses where its operator binds weaker than `power`."""
        text, own = self._node(node)
        return text if own >= power else f"({text})"

    def _node(self, node: Node) -> tuple[str, int]:
        match node:
            case Constant():
                return _constant(node.value)
            case ColumnOf():
                bare = node.source == self._bare
                return (_name(node.name) if bare else f"{self._names[node.source]}.{_name(node.name)}"), _ATOM
            case RowMeta():
                return f"{self._names[node.source]}.{node.what}()", _ATOM
            case UserId():
                return "auth.user_id()", _ATOM
            case Parameter(key=None):
                return f"{node.scope}.parameters()", _ATOM
            case Parameter():
                return f"{node.scope}.parameter({_constant(node.key)[0]})", _ATOM
            case Call():
                return f"{node.function}({self._list(node.arguments)})", _ATOM
            case Infix():
                power = _POWER.get(node.operator, _COMPARE)
                left = power + (power == _COMPARE)
                return f"{self._at(node.left, left)} {node.operator} {self._at(node.right, power + 1)}", power
            case UnaryPlus():
                return f"+{self._at(node.operand, _SIGN)}", _SIGN
            case JsonStep():
                return f"{self._at(node.document, _MEMBER)} {node.arrow} {_constant(node.key)[0]}", _MEMBER
            case Cast(colons=True):
                return f"{self._at(node.operand, _CAST)}::{node.type_name}", _CAST
            case Cast():
                return f"CAST({self._at(node.operand, _OR)} AS {node.type_name})", _ATOM
            case Logic():
                power = _AND if node.operator == "AND" else _OR
                return f" {node.operator} ".join(self._at(part, power + 1) for part in node.parts), power
            case Negation():
                return f"NOT {self._at(node.operand, _NOT)}", _NOT
            case CaseWhen():
                return self._case(node), _ATOM
            case _:
                return self._test(node), _COMPARE if not isinstance(node, Overlap) else _OTHER

    def _list(self, nodes: tuple[Node, ...]) -> str:
        return ", ".join(self._at(node, _OR) for node in nodes)

    def _case(self, node: CaseWhen) -> str:
        operand = "" if node.operand is None else f" {self._at(node.operand, _OR)}"
        branches = "".join(f" WHEN {self._at(a, _OR)} THEN {self._at(b, _OR)}" for a, b in node.branches)
        otherwise = "" if node.otherwise is None else f" ELSE {self._at(node.otherwise, _OR)}"
        return f"CASE{operand}{branches}{otherwise} END"

    def _test(self, node: Node) -> str:
        match node:
            case IsTest():
                return f"{self._at(node.operand, _OTHER)} IS {'NOT ' * node.negated}{node.what}"
            case Between():
                low, high = self._at(node.low, _OTHER), self._at(node.high, _OTHER)
                return f"{self._at(node.operand, _OTHER)} {'NOT ' * node.negated}BETWEEN {low} AND {high}"
            case InArray():
                items = self._list(node.items)
                target = f"ARRAY[{items}]" if node.keyword == "ARRAY" else f"ROW({items})"
                return f"{self._at(node.operand, _OTHER)} {'NOT ' * node.negated}IN {target}"
            case InJson():
                return f"{self._at(node.operand, _OTHER)} {'NOT ' * node.negated}IN {self._at(node.array, _OTHER)}"
            case Overlap():
                return f"{self._at(node.left, _ADD)} && {self._at(node.right, _ADD)}"
            case InSelect():
                target = node.target
                name = target.name if isinstance(target, NamedSelect) else f"({query_sql(target)})"
                return f"{self._at(node.operand, _OTHER)} IN {name}"
            case _:
                raise AssertionError(node)
