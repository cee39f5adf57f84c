"""Generates, per source table, one Python function that does the work of all queries and lookups over the table and nothing else.

It takes rows by the batch: the loop over them stands inside, so that a row costs no call of its own. The text looks like this (one
query without expansions, one lookup):

    def evaluate(batch):
        done = []
        b0 = BucketNames(g12)
        for c0, c1, c2, in batch:
            errors = ()
            rows = []
            lookups = []
            d0 = None
            try:
                if (c2 == g13):
                    b = b0[c1]
                    if b is not None:
                        if d0 is None:
                            o = {g14: c0, g15: c1}
                            i0 = c0 if type(c0) is str else object_id_text(c0)
                            try:
                                d0 = encode(o).decode() if type(c0) in PLAIN_TYPES and type(c1) in PLAIN_TYPES else row_json(o)
                            except NOT_ENCODABLE:
                                d0 = row_json(o)
                        rows.append(EvaluatedRow(b, g16, i0, d0))
            except EvaluationError as exc:
                errors = [*errors, f'{g16}: {exc}']
            …
            done.append(RowEvaluation(rows, lookups, errors) if rows or lookups or errors else NOTHING)
        return done

Queries with the same result columns share one text of row data. `reference` says what must come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from syncline.protocol.bucket_names import SyncValue
from syncline.sync_config.compiler.expressions import ColumnValue, Expression
from syncline.sync_config.compiler.model import LookupIndex, RowTable
from syncline.sync_config.evaluation.context import TableContext
from syncline.sync_config.evaluation.expansion import expand
from syncline.sync_config.evaluation.expression_code import ExpressionCode, Names
from syncline.sync_config.evaluation.partition import (
    BucketNames,
    encode_outputs,
    nullable_text,
    partition_of_one,
    partition_text,
)
from syncline.sync_config.evaluation.reference import reference_evaluator
from syncline.sync_config.evaluation.table_queries import TableLookup, TableQuery, fill_one_bucket, reads_expansions
from syncline.sync_config.evaluation.values import EvaluationError
from syncline.sync_config.plan import EvaluatedLookup, EvaluatedRow, RowEvaluation
from syncline.sync_config.row_json import NOT_ENCODABLE, PLAIN_TYPES, encode, object_id_text, row_json

__all__ = ["LOOPS_MAX", "PARTS_MAX", "GeneratedEvaluator", "evaluator_source", "generate_evaluator"]

PARTS_MAX = 500  # queries and lookups of one table in one function: Python takes 100 KB to read each
LOOPS_MAX = 15  # calls of json_each over one row, each a loop inside of the one before; Python allows 20 blocks, and some are ours


class GeneratedEvaluator:
    """A `RowEvaluator` around the generated function."""

    def __init__(self, evaluate: Callable[[Iterable[Sequence[SyncValue]]], list[RowEvaluation]]) -> None:
        self._evaluate = evaluate

    def __call__(self, row: Sequence[SyncValue], /) -> RowEvaluation:
        """What one row contributes."""
        return self._evaluate((row,))[0]

    def batch(self, rows: Iterable[Sequence[SyncValue]], /) -> list[RowEvaluation]:
        """What each row contributes, in the order of the rows."""
        return self._evaluate(rows)


def generate_evaluator(
    queries: Sequence[TableQuery], lookups: Sequence[TableLookup], columns: int
) -> GeneratedEvaluator:
    """An evaluator for rows of `columns` values. What is too much for Python to read is left to `reference`, which is slower."""
    tables = [*(query.query.table for query in queries), *(lookup.index.table for lookup in lookups)]
    if len(tables) <= PARTS_MAX and all(len(table.expansions) <= LOOPS_MAX for table in tables):
        source, names = evaluator_source(queries, lookups, columns)
        try:
            code = compile(source, "<row evaluator>", "exec")
        except (RecursionError, MemoryError):  # a CASE of 1,000 branches: what Python has for it is as deep
            pass
        else:
            exec(code, names.objects)  # noqa: S102 - the text holds names and numbers of ours only
            return GeneratedEvaluator(names.objects["evaluate"])
    evaluate = reference_evaluator(queries, lookups)
    return GeneratedEvaluator(lambda rows: [evaluate(row) for row in rows])


def evaluator_source(queries: Sequence[TableQuery], lookups: Sequence[TableLookup], columns: int) -> tuple[str, Names]:
    """The text of the function, and the objects that it names."""
    names = Names(
        NOTHING=RowEvaluation((), (), ()),
        NOT_ENCODABLE=NOT_ENCODABLE,
        PLAIN_TYPES=PLAIN_TYPES,
        BucketNames=BucketNames,
        EvaluatedLookup=EvaluatedLookup,
        EvaluatedRow=EvaluatedRow,
        EvaluationError=EvaluationError,
        RowEvaluation=RowEvaluation,
        encode=encode,
        encode_outputs=encode_outputs,
        expand=expand,
        nullable_text=nullable_text,
        object_id_text=object_id_text,
        partition_of_one=partition_of_one,
        partition_text=partition_text,
        row_json=row_json,
    )
    shared = _SharedData(queries)
    writer = _Writer(names)
    writer.line("def evaluate(batch):")
    writer.line("done = []", 1)
    for number, query in enumerate(queries):
        if len(query.query.keys) == 1:
            writer.line(f"b{number} = BucketNames({names.name_of(query.bucket)})", 1)
    with_columns = "".join(f"c{position}, " for position in range(columns))
    writer.line(f"for {with_columns or '_'} in batch:", 1)
    writer.line("errors = ()", 2)  # the empty tuple is one object: only what is there costs anything
    writer.line(f"rows = {'[]' if queries else '()'}", 2)
    writer.line(f"lookups = {'[]' if lookups else '()'}", 2)
    writer.line("".join(f"d{number} = " for number in range(shared.count)) + "None", 2)
    for number, query in enumerate(queries):
        writer.query(number, query, shared)
    if fill_one_bucket(queries):
        writer.line("if len(rows) > 1:", 2)
        writer.line("rows = list(dict.fromkeys(rows))", 3)
    for lookup in lookups:
        writer.lookup(lookup)
    writer.line("done.append(RowEvaluation(rows, lookups, errors) if rows or lookups or errors else NOTHING)", 2)
    writer.line("return done", 1)
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

    def query(self, number: int, query: TableQuery, shared: _SharedData) -> None:
        """The rows of one query; they are added only when the whole query has gone well."""
        code = ExpressionCode(query.table, self._names)
        several = bool(query.query.table.expansions)
        target = "found" if several else "rows"
        self.line("try:", 2)
        if several:
            self.line("found = []", 3)
        depth = self._open_table(query.query.table, code, 3)
        bucket, depth = self._bucket(number, query, code, depth)
        data, object_id = self._data(query, shared, code, depth)
        object_type = self._names.name_of(query.object_type)
        self.line(f"{target}.append(EvaluatedRow({bucket}, {object_type}, {object_id}, {data}))", depth)
        if several:
            self.line("rows += dict.fromkeys(found)", 3)
        self._close(query.object_type)

    def lookup(self, lookup: TableLookup) -> None:
        """The entries of one lookup index."""
        code = ExpressionCode(lookup.table, self._names)
        self.line("try:", 2)
        self.line("found = {}", 3)
        depth = self._open_table(lookup.index.table, code, 3)
        self.line(f"p = {self._partition(lookup.index.keys, code)}", depth)
        self.line(f"o = {self._outputs(lookup.index, code)}", depth)
        self.line("if p is not None and o is not None:", depth)
        self.line(f"found.setdefault({self._names.name_of(lookup.name)} + p, []).append(o)", depth + 1)
        self.line("for p in found:", 3)
        self.line("lookups.append(EvaluatedLookup(p, encode_outputs(found[p])))", 4)
        self._close(lookup.name)

    def _open_table(self, table: RowTable, code: ExpressionCode, depth: int) -> int:
        """Loops over the expansions and the filters; returns how deep the body stands."""
        for number, argument in enumerate(table.expansions, 1):
            rows = " * ".join(f"len(x{before})" for before in range(1, number)) or "1"
            self.line(f"x{number} = expand({code.value(argument)}, {rows})", depth)
            self.line(f"for e{number}_key, e{number}_value in x{number}:", depth)
            depth += 1
        if table.filters:
            self.line(f"if {' and '.join(code.truth(expression) for expression in table.filters)}:", depth)
            depth += 1
        return depth

    def _bucket(self, number: int, query: TableQuery, code: ExpressionCode, depth: int) -> tuple[str, int]:
        """Code of the bucket's name, and how deep the body stands, which only sees rows that have a bucket."""
        keys = query.query.keys
        if not keys:
            return self._names.name_of(f"{query.bucket}[]"), depth
        if len(keys) == 1:
            self.line(f"b = b{number}[{code.value(keys[0])}]", depth)
            self.line("if b is not None:", depth)
            return "b", depth + 1
        self.line(f"p = {self._partition(keys, code)}", depth)
        self.line("if p is not None:", depth)
        return f"{self._names.name_of(query.bucket)} + p", depth + 1

    def _outputs(self, index: LookupIndex, code: ExpressionCode) -> str:
        if not index.null_outputs:
            return self._partition(index.outputs, code)
        return f"nullable_text([{', '.join(code.value(output) for output in index.outputs)}])"

    def _partition(self, keys: Sequence[Expression], code: ExpressionCode) -> str:
        if not keys:
            return "'[]'"
        if len(keys) == 1:
            return f"partition_of_one({code.value(keys[0])})"
        return f"partition_text(({', '.join(code.value(key) for key in keys)}))"

    def _data(self, query: TableQuery, shared: _SharedData, code: ExpressionCode, depth: int) -> tuple[str, str]:
        """Names of the row data and of the object id; shared ones are computed where they are first needed."""
        number = shared.number(query)
        data, object_id = ("d", "i") if number is None else (f"d{number}", f"i{number}")
        if number is not None:
            self.line(f"if {data} is None:", depth)
            depth += 1
        pairs: list[str] = []
        tests: list[str] = []
        identity = "None"
        for place, (name, value) in enumerate(query.outputs):
            text = code.value(value)
            local = text if isinstance(value, ColumnValue) else f"v{place}"
            pairs.append(f"{self._names.name_of(name)}: {text if local == text else f'({local} := {text})'}")
            tests.append(f"type({local}) in PLAIN_TYPES")
            if name == "id":
                identity = local
        self.line(f"o = {{{', '.join(pairs)}}}", depth)
        self.line(f"{object_id} = {identity} if type({identity}) is str else object_id_text({identity})", depth)
        self.line("try:", depth)
        self.line(f"{data} = encode(o).decode() if {' and '.join(tests) or True} else row_json(o)", depth + 1)
        self.line("except NOT_ENCODABLE:", depth)
        self.line(f"{data} = row_json(o)", depth + 1)
        return data, object_id

    def _close(self, what: str) -> None:
        self.line("except EvaluationError as exc:", 2)
        self.line(f"errors = [*errors, f'{{{self._names.name_of(what)}}}: {{exc}}']", 3)
