"""Translates query trees to Postgres: joins stay joins, IN (SELECT …) is EXISTS; values and operators are those of `values.sql`.

Every table becomes a subquery whose columns are `oracle.value`s. A query runs for all connections at once: they are the relation
`connections` (n, stream, auth, connection, subscription), one row per subscription.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.sync_config_oracle.postgres_values import condition_sql, quoted, value_sql
from tests.support.sync_config_oracle.query_tree import (
    Config,
    Derived,
    Elements,
    NamedSelect,
    Output,
    Relation,
    Select,
    Star,
    TableSource,
)
from tests.support.sync_config_oracle.schema import Schema, SourceTable
from tests.support.sync_config_oracle.tree import ColumnOf, InSelect, Node, RowMeta, walk

__all__ = ["visible_rows_sql"]

_MAKE = {"text": "string", "integer": "whole", "bigint": "whole", "double precision": "floating", "boolean": "boolean"}


def visible_rows_sql(config: Config, schema: Schema, connections: str) -> str:
    """A statement for all rows that all connections see: (n, object type, object id, data).

    `connections` is a VALUES list. Data is JSON of column names and shown values.
    """
    translator = _Translator(schema)
    parts = [translator.query(query, stream.name) for stream in config.streams for query in stream.queries]
    return f"WITH connections (n, stream, auth, connection, subscription) AS ({connections})\n" + "\nUNION\n".join(
        parts
    )


class _Translator:
    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def query(self, select: Select, stream: str) -> str:
        """One query of a stream."""
        relations = {source.relation.uid: source.relation for source in select.sources}
        outputs = list(self._outputs(select, relations))
        pieces = [piece for _, piece in outputs]
        data = f"jsonb_strip_nulls({' || '.join(pieces)})"
        identity = next((name for name, _ in reversed(outputs) if name is not None), "oracle.object_id(NULL)")
        object_type = self._object_type(select, relations)
        body = self._from(select, f"connections u JOIN LATERAL (SELECT 1) AS one ON u.stream = {quoted(stream)}")
        return f"SELECT u.n, {object_type}, {identity}, {data} {body}"

    def _outputs(self, select: Select, relations: dict[int, Relation]) -> Iterator[tuple[str | None, str]]:
        """SQL of the object id, where the column is or has one, and of the JSON object of the column."""
        for column in select.columns:
            if isinstance(column, Output):
                yield self._output(column, column.name, relations)
            else:
                relation = relations[column.source]
                if isinstance(relation, Derived):
                    for name in _column_names(relation):
                        yield self._output(Output(ColumnOf(relation.uid, name), None), name, relations)
                else:
                    yield f"oracle.object_id(s{relation.uid}.c_id)", f"s{relation.uid}.star_"

    def _output(self, column: Output, name: str, relations: dict[int, Relation]) -> tuple[str | None, str]:
        value = value_sql(column.value)
        shown = f"oracle.show({value})"
        relation = relations[column.value.source] if isinstance(column.value, ColumnOf) else None
        if isinstance(relation, TableSource) and isinstance(column.value, ColumnOf):
            having = [table for table in self._tables(relation) if table.column(column.value.name)]
            names = ", ".join(quoted(f"{table.schema}.{table.name}") for table in having)
            shown = f"CASE WHEN s{relation.uid}.schema_ || '.' || s{relation.uid}.table_ IN ({names}) THEN {shown} END"
        return (
            f"oracle.object_id({value})" if name == "id" else None,
            f"jsonb_build_object({quoted(name)}, {shown})",
        )

    def _object_type(self, select: Select, relations: dict[int, Relation]) -> str:
        for column in select.columns:
            source = column.source if isinstance(column, Star) else _first_source(column.value)
            if source is not None:
                table = _synced_table(relations[source], column, relations)
                if table.alias is None and table.name.endswith("%"):
                    return f"s{table.uid}.table_"
                return quoted(table.alias or table.name)
        raise AssertionError("a query without a column")

    # FROM and WHERE

    def _from(self, select: Select, first: str | None = None) -> str:
        joined = [] if first is None else [first]
        for source in select.sources:
            relation = self._relation(source.relation)
            if source.condition is not None and joined:
                relation = f"JOIN {relation} ON {self._condition(source.condition)}"
            elif joined:
                relation = f"CROSS JOIN {relation}"
            joined.append(relation)
        where = "" if select.where is None else f" WHERE {self._condition(select.where)}"
        return f"FROM {' '.join(joined)}{where}"

    def _relation(self, relation: Relation) -> str:
        if isinstance(relation, Elements):
            return f"LATERAL oracle.elements({value_sql(relation.argument)}) AS s{relation.uid}"
        if isinstance(relation, TableSource):
            return f"({' UNION ALL '.join(self._rows(relation))}) AS s{relation.uid}"
        select = _select_of(relation.target)
        outputs = [column for column in select.columns if isinstance(column, Output)]
        columns = ", ".join(
            f'{value_sql(output.value)} AS "c_{name}"'
            for output, name in zip(outputs, _column_names(relation), strict=True)
        )
        return f"LATERAL (SELECT {columns} {self._from(select)}) AS s{relation.uid}"

    def _tables(self, relation: TableSource) -> tuple[SourceTable, ...]:
        return self._schema.matching(relation.schema or "public", relation.name)

    def _rows(self, relation: TableSource) -> Iterator[str]:
        """One SELECT per table that is meant; a column that only others have is NULL."""
        tables = self._tables(relation)
        names = list(dict.fromkeys(column.name for table in tables for column in table.columns))
        for table in tables:
            suffix = table.name[len(relation.name) - 1 :] if relation.name.endswith("%") else ""
            columns = [
                f"{quoted(table.schema)} AS schema_, {quoted(table.name)} AS table_, {quoted(suffix)} AS suffix_"
            ]
            star: list[str] = []
            for name in names:
                column = table.column(name)
                value = "NULL" if column is None else f'oracle.{_MAKE[column.postgres_type]}(x."{name}")'
                columns.append(f'{value}::oracle.value AS "c_{name}"')
                if column is not None:
                    star.append(f"{quoted(name)}, oracle.show({value})")
            columns.append(f"jsonb_build_object({', '.join(star)}) AS star_")
            yield f"SELECT {', '.join(columns)} FROM {table.schema}.{table.name} AS x"

    def _condition(self, node: Node) -> str:
        return condition_sql(node, self._in_select)

    def _in_select(self, node: InSelect) -> str:
        select = _select_of(node.target)
        (column,) = select.columns
        assert isinstance(column, Output)
        same = f"oracle.same({value_sql(node.operand)}, {value_sql(column.value)})"
        body = self._from(select)
        return f"EXISTS (SELECT 1 {body}{' WHERE ' if select.where is None else ' AND '}{same})"


def _select_of(target: Select | NamedSelect) -> Select:
    return target.select if isinstance(target, NamedSelect) else target


def _column_names(relation: Derived) -> tuple[str, ...]:
    select = _select_of(relation.target)
    return relation.columns or tuple(column.name for column in select.columns if isinstance(column, Output))


def _first_source(node: Node) -> int | None:
    return next((part.source for part in walk(node) if isinstance(part, (ColumnOf, RowMeta))), None)


def _synced_table(relation: Relation, column: Star | Output, relations: dict[int, Relation]) -> TableSource:
    """The table that a result column stems from, through subqueries and json_each."""
    if isinstance(relation, TableSource):
        return relation
    if isinstance(relation, Elements):
        source = _first_source(relation.argument)
        assert source is not None
        return _synced_table(relations[source], Output(relation.argument, ""), relations)
    select = _select_of(relation.target)
    inner = {source.relation.uid: source.relation for source in select.sources}
    names = _column_names(relation)
    wanted = names[0] if isinstance(column, Star) else _column_name(column.value, relation.uid)
    output = select.columns[names.index(wanted)]
    assert isinstance(output, Output)
    source = _first_source(output.value)
    assert source is not None
    return _synced_table(inner[source], output, inner)


def _column_name(node: Node, source: int) -> str:
    return next(part.name for part in walk(node) if isinstance(part, ColumnOf) and part.source == source)
