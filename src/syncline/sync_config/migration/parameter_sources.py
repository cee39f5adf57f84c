"""What a parameter query looks in, as a source in FROM: a table's rows, or the elements of a list that the connection brings."""

from __future__ import annotations

from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import Apply, ColumnValue, Expression, RowMeta
from syncline.sync_config.compiler.model import (
    ElementTable,
    LookupIndex,
    RequestSource,
    Stage,
    StageOutput,
    ValueSource,
)
from syncline.sync_config.migration.expressions import (
    NOWHERE,
    ExpressionWriter,
    all_of,
    equals,
    reads_rows,
)
from syncline.sync_config.migration.notes import Remarks
from syncline.sync_config.migration.refusal import CannotMigrate
from syncline.sync_config.plan import TablePattern
from syncline.sync_config.sql.syntax import (
    FromItem,
    FunctionCall,
    InTest,
    JoinItem,
    LiteralValue,
    Node,
    ResultColumn,
    Select,
)

__all__ = ["ParameterSource", "table_item"]

_DEFAULT_SCHEMA = "public"
_REQUEST_SCOPES = frozenset({"auth", "connection", "subscription"})
_ONE = LiteralValue(NOWHERE, 1)
_ELEMENT = ColumnValue(0, "value")


def table_item(pattern: TablePattern, alias: str | None) -> FromItem:
    """A table in FROM. Raises CannotMigrate for names that streams read otherwise."""
    if pattern.connection != "default":
        message = f'"{pattern.connection}" is no connection of the source, so that this query finds nothing'
        raise CannotMigrate(message, hint="Remove the query, or the connection from the table's name.")
    if "." in pattern.schema:
        message = f'The schema "{pattern.schema}" has a dot, which streams take for the end of a connection\'s name'
        raise CannotMigrate(message, hint="Rename the schema.")
    parts = (pattern.name,) if pattern.schema == _DEFAULT_SCHEMA else (pattern.schema, pattern.name)
    return FromItem(NOWHERE, alias, parts=parts)


@dataclass(frozen=True, slots=True)
class ParameterSource:
    """The lookups of one querier: an index over a table, before it maybe the elements of a list, or such elements alone."""

    stages: tuple[Stage, ...]
    fixed_json: bool
    remarks: Remarks

    @property
    def _table(self) -> LookupIndex | ElementTable:
        return self.stages[-1].table

    def found(self, source: StageOutput) -> Expression:
        """What an output of the last stage is."""
        assert source.stage == len(self.stages) - 1, "only the last stage gives parameters"
        return self._table.outputs[source.output]

    def whole_list(self, wanted: Expression) -> Node | None:
        """The list, where every element of it is `wanted` as it is; else None."""
        table = self._table
        if isinstance(table, ElementTable) and not table.filters and wanted == _ELEMENT:
            return self._writer(qualified=False).value(table.argument)
        return None

    def subquery(self, wanted: Expression) -> Select:
        """`SELECT wanted FROM … WHERE …`."""
        writer = self._writer(qualified=False)
        return self._select(writer.value(wanted), self._conditions(writer))

    def existence(self) -> Node:
        """A condition that holds if anything is found."""
        writer, table = self._writer(qualified=False), self._table
        if isinstance(table, LookupIndex):
            for number, (key, source) in enumerate(zip(table.keys, self.stages[-1].keys, strict=True)):
                if isinstance(source, RequestSource) and key not in _expanded(table):
                    select = self._select(writer.value(key), self._conditions(writer, left_out=number))
                    return InTest(NOWHERE, writer.value(source.value), select, negated=False)
        conditions = self._conditions(writer)
        if not self._is_read():  # a source that no condition reads is not looked into at all (reference 2.2)
            always = Apply("not", (Apply("is null", (self._always_there(),)),))
            conditions.append(writer.condition(always))
        return InTest(NOWHERE, _ONE, self._select(_ONE, conditions), negated=False)

    def joined(self, taken: str) -> tuple[FromItem, ExpressionWriter, list[Node]]:
        """The source beside another one that is called `taken`: its place in FROM, a writer for its columns, and what must hold."""
        name = self._name if self._name != taken and not isinstance(self._table, ElementTable) else None
        alias = None
        if name is None or name in _REQUEST_SCOPES:
            alias = name = "element" if isinstance(self._table, ElementTable) else "parameters"
            while name == taken:
                alias = name = f"{name}_"
        writer = ExpressionWriter(name, qualified=True, fixed_json=self.fixed_json, remarks=self.remarks)
        return self._item(alias), writer, self._conditions(writer)

    @property
    def _name(self) -> str:
        return "json_each" if isinstance(self._table, ElementTable) else self._table.table.pattern.name

    def _writer(self, *, qualified: bool) -> ExpressionWriter:
        return ExpressionWriter(self._alone, qualified=qualified, fixed_json=self.fixed_json, remarks=self.remarks)

    @property
    def _alone(self) -> str:
        """The name where nothing else stands in FROM."""
        return f"{self._name}_rows" if self._name in _REQUEST_SCOPES else self._name

    def _select(self, column: Node, conditions: list[Node]) -> Select:
        item = self._item(None if self._alone == self._name else self._alone)
        where = all_of(conditions) if conditions else None
        return Select(NOWHERE, (ResultColumn(column, None, NOWHERE),), (JoinItem(item, None),), where)

    def _item(self, alias: str | None) -> FromItem:
        table = self._table
        if isinstance(table, LookupIndex):
            return table_item(table.table.pattern, alias)
        call = FunctionCall(NOWHERE, ("json_each",), (self._writer(qualified=False).value(table.argument),))
        return FromItem(NOWHERE, alias, function=call)

    def _conditions(self, writer: ExpressionWriter, *, left_out: int | None = None) -> list[Node]:
        table = self._table
        if isinstance(table, ElementTable):
            return [writer.condition(test) for test in table.filters]
        matches = [
            self._match(writer, key, source)
            for number, (key, source) in enumerate(zip(table.keys, self.stages[-1].keys, strict=True))
            if number != left_out
        ]
        return [*matches, *(writer.condition(test) for test in table.table.filters)]

    def _match(self, writer: ExpressionWriter, key: Expression, source: ValueSource) -> Node:
        assert isinstance(self._table, LookupIndex)
        if isinstance(source, StageOutput):
            elements = self.stages[source.stage].table
            assert isinstance(elements, ElementTable)
            return InTest(NOWHERE, writer.value(key), writer.value(elements.argument), negated=False)
        value = writer.value(source.value)
        array = _expanded(self._table).get(key)
        if array is not None:
            return InTest(NOWHERE, value, writer.value(array), negated=False)
        return equals(writer.value(key), value)

    def _is_read(self) -> bool:
        table = self._table
        if isinstance(table, ElementTable):
            return any(reads_rows(test) for test in table.filters)
        return any(reads_rows(part) for part in (*table.keys, *table.table.filters))

    def _always_there(self) -> Expression:
        if isinstance(self._table, ElementTable):
            return Apply("typeof", (_ELEMENT,))
        return RowMeta(0, "table_name")


def _expanded(table: LookupIndex) -> dict[Expression, Expression]:
    """The arrays that keys are elements of, by the key."""
    return {ColumnValue(number, "value"): array for number, array in enumerate(table.table.expansions, 1)}
