"""What the source's catalog says: published tables, their columns and keys, and types."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import psycopg

from syncline.replication.postgres.connection import Row
from syncline.replication.postgres.types import TypeInfo, TypeKind
from syncline.replication.source import ALL_ROWS, Column, Relation, TableDefinition
from syncline.sync_config.plan import TablePattern

__all__ = ["PublishedTable", "TypeCatalog", "published_tables", "with_definition"]


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """A table of the publication, as its snapshot must read it. `row_filter` is SQL of the publication, or None.

    `rows` and `publication` are parts of its definition: see `TableDefinition`.
    """

    relation: Relation
    row_filter: str | None
    rows: str = ALL_ROWS
    publication: str = ""


# From Postgres 15 on a publication may have column lists and row filters; the copy has to obey them as the stream does.
# The ids of the transactions that wrote the publication's own rows tell also what was altered and altered back.
_TABLES_15 = """
SELECT c.oid, n.nspname, c.relname, p.attnames, p.rowfilter, r.prattrs IS NOT NULL,
       concat_ws('.', pub.oid, pub.xmin, r.xmin, pn.xmin)
  FROM pg_publication_tables p
  JOIN pg_publication pub ON pub.pubname = p.pubname
  JOIN pg_namespace n ON n.nspname = p.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
  LEFT JOIN pg_publication_rel r ON r.prpubid = pub.oid AND r.prrelid = c.oid
  LEFT JOIN pg_publication_namespace pn ON pn.pnpubid = pub.oid AND pn.pnnspid = n.oid
 WHERE p.pubname = %s AND c.relkind = 'r'
 ORDER BY n.nspname, c.relname
"""
_TABLES_14 = """
SELECT c.oid, n.nspname, c.relname, NULL::name[], NULL::text, false, concat_ws('.', pub.oid, pub.xmin, r.xmin)
  FROM pg_publication_tables p
  JOIN pg_publication pub ON pub.pubname = p.pubname
  JOIN pg_namespace n ON n.nspname = p.schemaname
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
  LEFT JOIN pg_publication_rel r ON r.prpubid = pub.oid AND r.prrelid = c.oid
 WHERE p.pubname = %s AND c.relkind = 'r'
 ORDER BY n.nspname, c.relname
"""

_COLUMNS = """
SELECT a.attrelid, a.attname, a.atttypid, t.typname, a.attstorage <> 'p',
       CASE c.relreplident WHEN 'f' THEN true WHEN 'n' THEN false
            ELSE coalesce(a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]), false) END
  FROM pg_attribute a
  JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_index i ON i.indrelid = c.oid
       AND i.indimmediate AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
 WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 ORDER BY a.attrelid, a.attnum
"""


async def published_tables(
    connection: psycopg.AsyncConnection[Row],
    publication: str,
    patterns: Sequence[TablePattern],
    *,
    ignored_schema: str,
) -> list[PublishedTable]:
    """The publication's ordinary tables that match; system schemas never do, nor does the one of bucket storage."""
    query = _TABLES_15 if connection.info.server_version >= 150000 else _TABLES_14
    tables = [
        row
        for row in await (await connection.execute(query, (publication,))).fetchall()
        if not row[1].startswith("pg_")
        and row[1] not in ("information_schema", ignored_schema)
        and any(pattern.matches(row[1], row[2]) for pattern in patterns)
    ]
    columns: dict[int, list[Column]] = {row[0]: [] for row in tables}
    cursor = await connection.execute(_COLUMNS, (list(columns),))
    for table_id, name, type_id, type_name, toastable, in_key in await cursor.fetchall():
        columns[table_id].append(Column(name, type_id, type_name, in_key=in_key, toastable=toastable))
    published: list[PublishedTable] = []
    for table_id, schema, name, column_list, row_filter, has_list, altered in tables:
        kept = tuple(c for c in columns[table_id] if column_list is None or c.name in column_list)
        rows = _short_hash([has_list, row_filter]) if has_list or row_filter else ALL_ROWS
        published.append(PublishedTable(Relation(table_id, schema, name, kept), row_filter, rows, altered))
    return published


def with_definition(table: PublishedTable, catalog: TypeCatalog) -> Relation:
    """The table's relation with its definition, in which all that its types are built from has a part."""
    columns = [[column.name, column.type_id, catalog.parts(column.type_id)] for column in table.relation.columns]
    definition = TableDefinition(_short_hash(columns), table.rows, table.publication)
    return replace(table.relation, definition=definition)


def _short_hash(content: object) -> str:
    return blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()


_TYPES = """
SELECT t.oid, t.typname, t.typtype, t.typcategory, t.typelem, t.typbasetype, t.typstorage <> 'p', t.typrelid,
       coalesce(r.rngsubtype, m.rngtypid, 0), coalesce(e.typdelim, t.typdelim)
  FROM pg_type t
  LEFT JOIN pg_type e ON e.oid = t.typelem
  LEFT JOIN pg_range r ON r.rngtypid = t.oid
  LEFT JOIN pg_range m ON m.rngmultitypid = t.oid
 WHERE t.oid = ANY (%s)
"""
_ATTRIBUTES = """
SELECT attrelid, attname, atttypid FROM pg_attribute
 WHERE attrelid = ANY (%s) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum
"""


class TypeCatalog:
    """Types as they are asked for, with all that they are built from."""

    def __init__(self) -> None:
        self.types: dict[int, TypeInfo] = {}

    async def load(self, connection: psycopg.AsyncConnection[Row], oids: Iterable[int]) -> None:
        """Make sure that these types and their parts are known."""
        wanted = set(oids) - self.types.keys()
        while wanted:
            rows = await (await connection.execute(_TYPES, (list(wanted),))).fetchall()
            attributes = await self._attributes(connection, [row[7] for row in rows if row[2] == "c"])
            for row in rows:
                self.types[row[0]] = _type_info(row, attributes)
            found = [self.types[oid] for oid in wanted if oid in self.types]
            parts = {info.inner for info in found} | {oid for info in found for _, oid in info.attributes}
            wanted = parts - self.types.keys() - {0}

    def parts(self, oid: int) -> list[object]:
        """What a known type is built from, with the parts of its parts."""
        info = self.types.get(oid)
        if info is None:
            return []
        inner = self.parts(info.inner) if info.inner else []
        attributes: list[object] = [[name, part, self.parts(part)] for name, part in info.attributes]
        return [info.kind.value, info.inner, inner, attributes]

    async def _attributes(
        self, connection: psycopg.AsyncConnection[Row], relation_ids: list[int]
    ) -> dict[int, list[tuple[str, int]]]:
        attributes: dict[int, list[tuple[str, int]]] = {relation_id: [] for relation_id in relation_ids}
        if relation_ids:
            for row in await (await connection.execute(_ATTRIBUTES, (relation_ids,))).fetchall():
                attributes[row[0]].append((row[1], row[2]))
        return attributes


def _type_info(row: Row, attributes: dict[int, list[tuple[str, int]]]) -> TypeInfo:
    oid, name, kind_code, category, element, base, toastable, relation_id, range_part, delimiter = row
    if category == "A" and element:
        kind, inner = TypeKind.ARRAY, element
    elif kind_code in ("d", "c", "r", "m", "e"):
        kind = TypeKind(kind_code)
        inner = base if kind is TypeKind.DOMAIN else range_part
    else:
        kind, inner = TypeKind.BASE, 0
    return TypeInfo(
        oid=oid,
        name=name,
        kind=kind,
        inner=inner,
        delimiter=delimiter,
        attributes=tuple(attributes.get(relation_id, [])),
        toastable=toastable,
    )
