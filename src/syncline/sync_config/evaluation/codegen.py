"""Generates, per source table, one Python function that does the work of all queries and lookups over the table and nothing else.

The text looks like this (one query without expansions, one lookup):

    def evaluate(row):
        c0, c1, = row
        rows = []; lookups = []; errors = []
        d0 = None
        try:
            if (c1 == g7):
                p = partition_of_one(c1)
                if p is not None:
                    if d0 is None:
                        d0 = row_json({'id': c0, 'owner': c1}); i0 = c0 if type(c0) is str else object_id_text(c0)
                    rows.append(new(EvaluatedRow, (g8 + p, g9, i0, d0)))
        except EvaluationError as exc:
            errors.append(f"{g10}: {exc}")
        …
        return new(RowEvaluation, (rows, lookups, errors))

Queries with the same result columns share one text of row data. `reference` says what must come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from syncline.sync_config.compiler.expressions import ColumnValue, Expression
from syncline.sync_config.compiler.model import RowTable
from syncline.sync_config.evaluation.context import TableContext
from syncline.sync_config.evaluation.expression_code import ExpressionCode, Names
from syncline.sync_config.evaluation.json_values import elements
from syncline.sync_config.evaluation.partition import encode_outputs, partition_of_one, partition_text
from syncline.sync_config.evaluation.table_queries import TableLookup, TableQuery, reads_expansions
from syncline.sync_config.evaluation.values import EvaluationError
from syncline.sync_config.plan import EvaluatedLookup, EvaluatedRow, RowEvaluation, RowEvaluator
from syncline.sync_config.row_json import object_id_text, row_json

__all__ = ["evaluator_source", "generate_evaluator"]

_NEW: Any = getattr(tuple, "__new__")  # noqa: B009 - what a named tuple calls itself, without its Python frame


def generate_evaluator(queries: Sequence[TableQuery], lookups: Sequence[TableLookup], columns: int) -> RowEvaluator:
    """An evaluator for rows of `columns` values."""
    source, names = evaluator_source(queries, lookups, columns)
    exec(compile(source, "<row evaluator>", "exec"), names.objects)  # noqa: S102 - the text holds names and numbers of ours only
    evaluator: RowEvaluator = names.objects["evaluate"]
    return evaluator


def evaluator_source(queries: Sequence[TableQuery], lookups: Sequence[TableLookup], columns: int) -> tuple[str, Names]:
    """The text of the function, and the objects that it names."""
    names = Names(
        EvaluatedLookup=EvaluatedLookup,
        EvaluatedRow=EvaluatedRow,
        EvaluationError=EvaluationError,
        RowEvaluation=RowEvaluation,
        elements=elements,
        new=_NEW,
        encode_outputs=encode_outputs,
        object_id_text=object_id_text,
        partition_of_one=partition_of_one,
        partition_text=partition_text,
        row_json=row_json,
    )
    writer = _Writer(names)
    writer.line("def evaluate(row):")
    with_columns = "".join(f"c{position}, " for position in range(columns))
    writer.line(f"{with_columns}= row" if columns else "pass", 1)
    writer.line("rows = []; lookups = []; errors = []", 1)
    shared = _SharedData(queries)
    writer.line("".join(f"d{number} = " for number in range(shared.count)) + "None", 1)
    for query in queries:
        writer.query(query, shared)
    for lookup in lookups:
        writer.lookup(lookup)
    writer.line("return new(RowEvaluation, (rows, lookups, errors))", 1)
    return "\n".join(writer.lines) + "\n", names


class _SharedData:
    """Numbers the different sets of result columns that depend on the row alone."""

    def __init__(self, queries: Sequence[TableQuery]) -> None:
        self._numbers: dict[tuple[TableContext, tuple[tuple[str, Expression], ...]], int] = {}
        for query in queries:
            if not reads_expansions(value for _, value in query.outputs):
                self._numbers.setdefault((query.table, query.outputs), len(self._numbers))

    @property
    def count(self) -> int:
        """How many there are; at least 1, so that the generated line is never empty."""
        return max(1, len(self._numbers))

    def number(self, query: TableQuery) -> int | None:
        """The number of a query's columns; None where they depend on an expansion."""
        return self._numbers.get((query.table, query.outputs))


class _Writer:
    def __init__(self, names: Names) -> None:
        self.lines: list[str] = []
        self._names = names

    def line(self, text: str, depth: int = 0) -> None:
        self.lines.append("    " * depth + text)

    def query(self, query: TableQuery, shared: _SharedData) -> None:
        """The rows of one query; they are added only when the whole query has gone well."""
        code = ExpressionCode(query.table, self._names)
        several = bool(query.query.table.expansions)
        target = "found" if several else "rows"
        self.line("try:", 1)
        if several:
            self.line("found = []", 2)
        depth = self._open_table(query.query.table, code, 2)
        bucket = self._names.name_of(query.bucket)
        if query.query.keys:
            self.line(f"p = {self._partition(query.query.keys, code)}", depth)
            self.line("if p is not None:", depth)
            depth += 1
            name = f"{bucket} + p"
        else:
            name = self._names.name_of(f"{query.bucket}[]")
        data, object_id = self._data(query, shared, code, depth)
        object_type = self._names.name_of(query.object_type)
        self.line(f"{target}.append(new(EvaluatedRow, ({name}, {object_type}, {object_id}, {data})))", depth)
        if several:
            self.line("rows += dict.fromkeys(found)", 2)
        self._close(query.object_type)

    def lookup(self, lookup: TableLookup) -> None:
        """The entries of one lookup index."""
        code = ExpressionCode(lookup.table, self._names)
        self.line("try:", 1)
        self.line("found = {}", 2)
        depth = self._open_table(lookup.index.table, code, 2)
        self.line(f"p = {self._partition(lookup.index.keys, code)}", depth)
        self.line(f"o = {self._partition(lookup.index.outputs, code)}", depth)
        self.line("if p is not None and o is not None:", depth)
        self.line(f"found.setdefault({self._names.name_of(lookup.name)} + p, []).append(o)", depth + 1)
        self.line("for p in found:", 2)
        self.line("lookups.append(new(EvaluatedLookup, (p, encode_outputs(found[p]))))", 3)
        self._close(lookup.name)

    def _open_table(self, table: RowTable, code: ExpressionCode, depth: int) -> int:
        """Loops over the expansions and the filters; returns how deep the body stands."""
        for number, argument in enumerate(table.expansions, 1):
            self.line(f"for e{number}_key, e{number}_value in elements({code.value(argument)}):", depth)
            depth += 1
        if table.filters:
            self.line(f"if {' and '.join(code.truth(expression) for expression in table.filters)}:", depth)
            depth += 1
        return depth

    def _partition(self, keys: Sequence[Expression], code: ExpressionCode) -> str:
        if not keys:
            return "'[]'"
        if len(keys) == 1:
            return f"partition_of_one({code.value(keys[0])})"
        return f"partition_text(({', '.join(code.value(key) for key in keys)}))"

    def _data(self, query: TableQuery, shared: _SharedData, code: ExpressionCode, depth: int) -> tuple[str, str]:
        """Code of the row data and of the object id; shared ones are computed where they are first needed."""
        pairs = ", ".join(f"{self._names.name_of(name)}: {code.value(value)}" for name, value in query.outputs)
        data = f"row_json({{{pairs}}})"
        identity = dict(query.outputs).get("id")
        value = "None" if identity is None else code.value(identity)
        object_id = f"object_id_text({value})"
        if isinstance(identity, ColumnValue) and value != "None":
            object_id = f"{value} if type({value}) is str else {object_id}"
        number = shared.number(query)
        if number is None:
            return data, object_id
        self.line(f"if d{number} is None:", depth)
        self.line(f"d{number} = {data}; i{number} = {object_id}", depth + 1)
        return f"d{number}", f"i{number}"

    def _close(self, what: str) -> None:
        self.line("except EvaluationError as exc:", 1)
        self.line(f"errors.append(f'{{{self._names.name_of(what)}}}: {{exc}}')", 2)
