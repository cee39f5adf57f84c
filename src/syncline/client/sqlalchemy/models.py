"""SQLAlchemy's tables and the client's schema, each made from the other (Python client reference, 5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from syncline.client.ids import new_id
from syncline.client.schema import Column, ColumnType, Schema, Table
from syncline.client.schema_columns import BOOLEAN, DATETIME, JSON
from syncline.client.schema_names import SchemaInvalid

__all__ = ["metadata_from_schema", "schema_from_sqlalchemy", "table_from_sqlalchemy"]


def schema_from_sqlalchemy(
    metadata: sa.MetaData,
    *,
    local_only: Collection[str] = (),
    insert_only: Collection[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Schema:
    """The client's schema of all tables of `metadata` (`Base.metadata` of an app's models).

    `local_only` and `insert_only` name tables; `options` gives any table options of `syncline.client.Table`, such as
    `{"lists": {"track_previous": True}}`. Indexes of plain columns become indexes of the device. Raises SchemaInvalid, also for a name
    that no table has.
    """
    wanted = {*local_only, *insert_only, *(options or {})}
    unknown = sorted(wanted - set(metadata.tables))
    if unknown:
        raise SchemaInvalid(
            f'The metadata has no table "{unknown[0]}".', hint=f"Its tables are: {', '.join(sorted(metadata.tables))}."
        )
    return Schema(
        table_from_sqlalchemy(
            table,
            **{
                "local_only": table.name in local_only,
                "insert_only": table.name in insert_only,
                **(options or {}).get(table.name, {}),
            },
        )
        for table in metadata.sorted_tables
    )


def table_from_sqlalchemy(model: Any, **options: Any) -> Table:
    """The client's table of a mapped class or of a `sqlalchemy.Table`; `options` are those of `syncline.client.Table`.

    The key must be one column `id` of text or UUID: ids are made on devices. Raises SchemaInvalid.
    """
    table: sa.Table = getattr(model, "__table__", model)
    _check_key(table)
    columns = [_column(column) for column in table.columns if column.name != "id"]
    return Table(table.name, columns, indexes=options.pop("indexes", _indexes(table)), **options)


def metadata_from_schema(schema: Schema) -> sa.MetaData:
    """Tables for SQLAlchemy Core, one for each table of the client's schema, under the names that SQL sees; ids are made by default."""
    metadata = sa.MetaData()
    for table in schema.tables:
        key = sa.Column("id", sa.String, primary_key=True, default=new_id)
        sa.Table(table.view_name, metadata, key, *(sa.Column(column.name, _type(column)) for column in table.columns))
    return metadata


def _check_key(table: sa.Table) -> None:
    keys = [column.name for column in table.primary_key.columns]
    if keys != ["id"]:
        raise SchemaInvalid(
            f'The primary key of table "{table.name}" is ({", ".join(keys)}).',
            hint="Every table needs one key column, id. For a pair of keys use an id of its own, and an index over the pair.",
        )
    if not isinstance(table.columns["id"].type, sa.String | sa.Uuid):
        raise SchemaInvalid(
            f'The id of table "{table.name}" is no text.',
            hint="Ids are made on devices: `id: Mapped[str] = mapped_column(primary_key=True, default=syncline.client.new_id)`.",
        )


def _column(column: sa.Column[Any]) -> Column:
    kind: Any = column.type
    match kind:
        case sa.Boolean():
            return Column.boolean(column.name)
        case sa.DateTime():
            return Column.datetime(column.name)
        case sa.JSON() | sa.ARRAY():
            return Column.json(column.name)
        case sa.Integer():
            return Column.integer(column.name)
        case sa.Float():
            return Column.real(column.name)
        case sa.LargeBinary():
            raise SchemaInvalid(
                f'Column "{column.name}" of table "{column.table.name}" is binary.',
                hint="Rows are JSON, which has no bytes: keep base64 or hex in a text column, or a file as an attachment.",
            )
        case _:  # text, decimals (exact as text), dates, times, UUIDs, enums
            return Column.text(column.name)


def _indexes(table: sa.Table) -> dict[str, list[str]]:
    """Indexes of plain columns; others (of expressions) exist on the source alone."""
    found: dict[str, list[str]] = {}
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        names = [part.name for part in index.expressions if isinstance(part, sa.Column)]
        if index.name and len(names) == len(index.expressions) and "id" not in names:
            found[str(index.name)] = names
    return found


def _type(column: Column) -> sa.types.TypeEngine[Any]:
    if column.codec is BOOLEAN:
        return sa.Boolean()
    if column.codec is DATETIME:
        return sa.DateTime(timezone=True)
    if column.codec is JSON:
        return sa.JSON()
    if column.type is ColumnType.INTEGER:
        return sa.BigInteger()
    return sa.Float() if column.type is ColumnType.REAL else sa.String()
