"""The largest and strangest configs, by hand: each would bring down a careless reader of YAML, of SQL, or the compiler behind them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from tests.support.sync_config_fuzz.growth import NESTINGS, chain, nested, product

__all__ = ["bombs"]

QUERY_CHARS = 49_000  # just below what a query may have
DOCUMENT_CHARS = 110_000  # just below what a document may have
START = "config: {edition: 3}\nstreams:\n  s:\n    "


def stream(*queries: str) -> str:
    """A document whose one stream has these queries."""
    return f"{START}queries: [{', '.join(json.dumps(query) for query in queries)}]\n"


def definition(query: str, *, parameters: str | None = None) -> str:
    """A document with one bucket definition."""
    given = "" if parameters is None else f"parameters: {json.dumps(parameters)}, "
    return f"bucket_definitions: {{b: {{{given}data: [{json.dumps(query)}]}}}}\n"


def bombs() -> Iterator[tuple[str, str]]:
    """All of them, by name."""
    yield from ((f"YAML: {name}", make()) for name, make in YAML_BOMBS.items())
    for name in NESTINGS:
        for depth in (40, 90, 2000):
            text = nested(name, depth)
            yield f"{depth} times {name}", stream(f"SELECT id FROM t WHERE {text}")
            yield f"{depth} times {name}, selected", stream(f"SELECT {text} AS v FROM t")
            yield f"{depth} times {name}, sync rules", definition(f"SELECT id, {text} AS v FROM t WHERE {text}")
    yield from ((f"query: {name}", stream(query)) for name, query in QUERY_BOMBS.items())
    yield from ((f"sync rules: {name}", definition(query)) for name, query in QUERY_BOMBS.items())
    yield from ((f"document: {name}", make()) for name, make in DOCUMENT_BOMBS.items())


def nested_subqueries(depth: int) -> str:
    """A subquery in the condition of a subquery, and so on."""
    inner = "SELECT id FROM t WHERE o = auth.user_id()"
    return "SELECT id FROM t WHERE id IN (" * depth + inner + ")" * depth


def doubled(depth: int) -> str:
    """Each subquery in FROM uses its inner one's column twice: written out, the expression doubles with every level."""
    query = "SELECT id AS a FROM t"
    for _ in range(depth):
        query = f"SELECT q.a || q.a AS a FROM ({query}) AS q"
    return query


def _lines(line: str, *, size: int = DOCUMENT_CHARS) -> str:
    return chain(line, "\n", size // (len(line) + 4))


YAML_BOMBS: dict[str, Callable[[], str]] = {
    "nothing": lambda: "",
    "aliases of aliases": lambda: "a: &a0 [x]\n" + "".join(f"b{n}: &a{n + 1} [{f'*a{n}, ' * 10}]\n" for n in range(10)),
    "merge keys": lambda: START + "&a {query: SELECT * FROM t}\n  b: {<<: *a}\n",
    "an anchor that holds itself": lambda: "&a [*a]",
    "anchors everywhere": lambda: START + "query: &x SELECT * FROM t\n  &y b: &z {query: &u SELECT * FROM u}\n",
    "nested lists": lambda: "[" * DOCUMENT_CHARS,
    "nested maps": lambda: "{a: " * (DOCUMENT_CHARS // 4),
    "nested block lists": lambda: "- " * (DOCUMENT_CHARS // 2),
    "nested block maps": lambda: "\n".join(" " * depth + "a:" for depth in range(600)),
    "many complex keys": lambda: "? " * (DOCUMENT_CHARS // 2),
    "many documents": lambda: "---\n" * (DOCUMENT_CHARS // 4),
    "many empty lists": lambda: "[" + "[]," * (DOCUMENT_CHARS // 3) + "]",
    "many short keys": lambda: _lines("{n}:"),
    "many short keys in a line": lambda: "{" + chain("{n}: 1", ", ", DOCUMENT_CHARS // 10) + "}",
    "many streams in a line": lambda: "config: {edition: 3}\nstreams: {" + chain("s{n}: 1", ", ", DOCUMENT_CHARS // 11) + "}",
    "many unknown keys in a line": lambda: START[:-5] + "s: {" + chain("x{n}: 1", ", ", DOCUMENT_CHARS // 11) + "}",
    "many duplicate keys": lambda: "{" + "a: 1, " * (DOCUMENT_CHARS // 6) + "}",
    "many number keys": lambda: "{" + chain("{n}: 1", ", ", DOCUMENT_CHARS // 10) + "}",
    "many keys without a query": lambda: "config: {edition: 3}\nstreams:\n" + _lines("  s{n}: {}"),
    "comments": lambda: "#" * DOCUMENT_CHARS,
    "many comments": lambda: _lines("#"),
    "blank lines": lambda: "\n" * DOCUMENT_CHARS,
    "blanks": lambda: " " * DOCUMENT_CHARS,
    "a plain text": lambda: START + "query: " + "x" * DOCUMENT_CHARS,
    "a plain text of many words": lambda: START + "query: " + "x " * (DOCUMENT_CHARS // 2),
    "a plain text of many lines": lambda: START + "query: " + "x\n      " * (DOCUMENT_CHARS // 8),
    "a quoted text of escapes": lambda: START + 'query: "' + "\\x41" * (DOCUMENT_CHARS // 4) + '"',
    "a quoted text of line ends": lambda: START + 'query: "' + "\\n" * (DOCUMENT_CHARS // 2) + '"',
    "a text in single quotes": lambda: START + "query: '" + "''" * (DOCUMENT_CHARS // 2) + "'",
    "a folded text": lambda: START + "query: >\n" + "      x\n" * (DOCUMENT_CHARS // 8),
    "a long key": lambda: START + "x" * DOCUMENT_CHARS + ": 1",
    "a quote that is not closed": lambda: START + 'query: "' + "x\n" * (DOCUMENT_CHARS // 2),
    "an escape beyond Unicode": lambda: START + 'query: "\\UFFFFFFFF"',
    "an escape just beyond Unicode": lambda: START + 'query: "\\U00110000"',
    "an escaped surrogate": lambda: START + 'query: "SELECT \'\\ud800\' AS v FROM t"',
    "a surrogate": lambda: START + "query: SELECT '\ud800' AS v FROM \"\udfff\"",
    "a surrogate as name": lambda: START[:-5] + "\ud800: {query: SELECT * FROM t}",
    "an escaped surrogate as name": lambda: START[:-5] + '"\\udfff": {query: SELECT * FROM t}',
    "a NUL": lambda: START + "query: SELECT * \x00 FROM t",
    "an escaped NUL": lambda: START + 'query: "SELECT \'\\0\' AS v FROM \\"\\0\\""',
    "a byte order mark": lambda: "\ufeff" + stream("SELECT * FROM t LIMIT 1"),
    "a byte order mark inside": lambda: START + "query: SELECT \ufeff* FROM t",
    "a version of many digits": lambda: f"%YAML 1.{'9' * 5000}\n---\na: 1",
    "a large version": lambda: "%YAML 9.9\n---\n" + stream("SELECT * FROM t"),
    "a tag of bad bytes": lambda: "a: !%ff%fe x",
    "many tag handles": lambda: _lines("%TAG !{n}! x") + "\n---\na: 1",
    "tags": lambda: START + "query: !!python/object/apply:os.system [SELECT]",
    "an indentation of many digits": lambda: START + f"query: |{'9' * 5000}\n  x",
    "a key of many digits": lambda: "9" * 100_000 + ": 1",
    "a priority of many digits": lambda: START + f"priority: {'9' * 100_000}\n    query: SELECT * FROM t",
    "a priority of a large power": lambda: START + "priority: 1e999\n    query: SELECT * FROM t",
    "an edition of a large power": lambda: "config: {edition: 1e300, storage_version: -1e999}\nstreams: {}",
    "an edition that is no number": lambda: "config: {edition: .nan, storage_version: .inf}\nstreams: {}",
    "carriage returns": lambda: stream("SELECT * FROM t LIMIT 1").replace("\n", "\r"),
    "other line ends": lambda: stream("SELECT * FROM t LIMIT 1").replace("\n", "\u2028"),
    "tabs": lambda: stream("SELECT * FROM t").replace("    ", "\t"),
    "a document that is too large": lambda: "# " * 2_000_000,
}  # fmt: skip

MANY = QUERY_CHARS // 40
PARAMETER_VALUE = "auth.parameter('{n}')"
IN_LIST = "c.id IN auth.parameter('{n}')"
REQUEST_FILTER = "auth.parameter('{n}') = 1"
PARAMETER = "a{g} = auth.parameter('p{n}')"


def _where(term: str, joint: str, count: int) -> str:
    return f"SELECT * FROM t WHERE {chain(term, joint, count)}"


QUERY_BOMBS: dict[str, str] = {
    "nothing": "",
    "hundred terms with OR": _where('id = {n}', ' OR ', 100),
    "hundred parameters with OR": _where('a{n} = auth.user_id()', ' OR ', 100),
    "one parameter too many with OR": _where('a{n} = auth.user_id()', ' OR ', 101),
    "5,000 terms with OR": _where('id = {n}', ' OR ', 5000),
    "5,000 equal terms with OR": _where('a = auth.user_id()', ' OR ', 3500),
    "5,000 terms with AND": _where('id = {n}', ' AND ', 5000),
    "many parameters with OR": _where('a{n} = auth.user_id()', ' OR ', MANY),
    "many parameters with AND": _where('a{n} = auth.user_id()', ' AND ', MANY),
    "many parameters of one key": _where("a = auth.parameter('{n}')", ' AND ', MANY),
    "many request filters": _where("auth.parameter('{n}') = 1", ' AND ', MANY),
    "many lookups with AND": _where('id IN (SELECT id FROM l{n} WHERE o = auth.user_id())', ' AND ', 1500),
    "many lookups with OR": _where('id IN (SELECT id FROM l{n} WHERE o = auth.user_id())', ' OR ', 100),
    "alternatives of many filters": "SELECT * FROM t WHERE "
    f"({chain('a{n} = auth.user_id()', ' OR ', 100)}) AND {chain('b = {n}', ' AND ', 6000)}",
    "alternatives of many parameters": "SELECT * FROM t WHERE "
    f"({chain('a{n} = auth.user_id()', ' OR ', 100)}) AND {chain('b{n} = auth.user_id()', ' AND ', 3000)}",
    "alternatives of many request filters": "SELECT * FROM t WHERE "
    f"({chain('a{n} = auth.user_id()', ' OR ', 100)}) AND {chain(REQUEST_FILTER, ' AND ', 3000)}",
    "ten to the twenty alternatives": f"SELECT * FROM t WHERE {product(20, 10, PARAMETER)}",
    "two to the thousand alternatives": f"SELECT * FROM t WHERE {product(1000, 2, PARAMETER)}",
    "two to the thousand, negated": f"SELECT * FROM t WHERE NOT ({product(1000, 2, PARAMETER)})",
    "a product of row filters": f"SELECT * FROM t WHERE {product(100, 60, 'a{g} = {n}')}",
    "alternatives inside of one": _where('(a{n} = auth.user_id() AND (b = {n} OR c = auth.user_id()))', ' OR ', 50),
    "hundred tables": f"SELECT t0.* FROM {chain('t{n}', ', ', 100)}",
    "many tables": f"SELECT t0.* FROM {chain('t{n}', ', ', QUERY_CHARS // 8)}",
    "a chain of joins": f"SELECT t0.* FROM t0 {chain('JOIN u{n} ON u{n}.id = t0.id', ' ', 1500)} WHERE t0.id = auth.user_id()",
    "a row of joins": "SELECT u0.* FROM u0 "
    + " ".join(f"JOIN u{n + 1} ON u{n + 1}.x = u{n}.y" for n in range(98))
    + " WHERE u98.id = auth.user_id()",
    "all joined with all": "SELECT u0.* FROM "
    + ", ".join(f"u{n}" for n in range(50))
    + " WHERE " + " AND ".join(f"u{a}.x{b} = u{b}.x{a}" for a in range(50) for b in range(a)) + " AND u0.id = auth.user_id()",
    "many elements": f"SELECT t.id FROM t, {chain('json_each(t.tags) AS j{n}', ', ', 90)} WHERE {chain('j{n}.value = 1', ' AND ', 90)}",
    "many columns": f"SELECT {chain('a AS a{n}', ', ', QUERY_CHARS // 12)} FROM t",
    "many columns of one name": f"SELECT {chain('a', ', ', QUERY_CHARS // 3)} FROM t",
    "many stars": f"SELECT {chain('*', ', ', QUERY_CHARS // 3)} FROM t",
    "many unnamed expressions": f"SELECT {chain('a + {n}', ', ', QUERY_CHARS // 10)} FROM t",
    "many arguments": f"SELECT ifnull({chain('a', ', ', QUERY_CHARS // 3)}) AS v FROM t",
    "many branches": f"SELECT CASE {chain('WHEN a = {n} THEN {n}', ' ', QUERY_CHARS // 28)} END AS v FROM t",
    "many list items": f"SELECT * FROM t WHERE id IN ARRAY[{chain('{n}', ', ', QUERY_CHARS // 8)}]",
    "many list items of the connection": f"SELECT * FROM t WHERE id IN ARRAY[{chain(PARAMETER_VALUE, ', ', 3000)}]",
    "many lists of the connection, of a joined table": "SELECT * FROM t WHERE id IN (SELECT c.id FROM c, d "
    f"WHERE c.d = d.id AND d.owner = auth.user_id() AND {chain(IN_LIST, ' AND ', 1200)})",
    "many lists": _where('id IN ARRAY[auth.user_id(), {n}]', ' OR ', 1500),
    "a JSON text of many items": f"SELECT * FROM t WHERE id IN '[{chain('{n}', ',', QUERY_CHARS // 7)}]'",
    "overlaps": _where("tags && auth.parameter('{n}')", ' AND ', 2000),
    "subqueries in subqueries": nested_subqueries(60),
    "many subqueries in subqueries": nested_subqueries(1500),
    "subqueries in FROM": f"{'SELECT id FROM (' * 2000}SELECT id FROM t{') AS q' * 2000}",
    "few subqueries in FROM": f"{'SELECT id FROM (' * 60}SELECT id FROM t{') AS q' * 60}",
    "subqueries that double": doubled(40),
    "a long name": f'SELECT * FROM "{"x" * QUERY_CHARS}"',
    "a long text": f"SELECT '{'x' * QUERY_CHARS}' AS v FROM t",
    "a long number": f"SELECT {'9' * QUERY_CHARS} AS v FROM t",
    "a number of 300 digits": f"SELECT {'9' * 300} * {'9' * 300} * {'9' * 300} AS v, id FROM t WHERE {'9' * 300} = auth.user_id()",
    "a product of numbers": f"SELECT {chain('9' * 290, ' * ', 60)} AS v, id FROM t",
    "shifts": f"SELECT {chain('9' * 20, ' << ', 60)} AS v, id FROM t",
    "a large power": "SELECT 1." + "0" * 290 + "1 AS v, 1e400 AS w FROM t",
    "many points": f"SELECT {chain('x', '.', QUERY_CHARS // 2)} FROM t",
    "many quotes": "SELECT " + "'" * QUERY_CHARS,
    "many odd quotes": "SELECT " + "'" * (QUERY_CHARS + 1),
    "many name quotes": "SELECT " + '"' * QUERY_CHARS,
    "many openings of comments": "SELECT " + "/*" * (QUERY_CHARS // 2),
    "many comments": "SELECT " + "/**/" * (QUERY_CHARS // 4) + " * FROM t",
    "many escapes": "SELECT E'" + "\\" * (QUERY_CHARS - 1) + "' AS v FROM t",
    "many semicolons": "SELECT * FROM t" + ";" * QUERY_CHARS,
    "many casts": f"SELECT id{'::text' * (QUERY_CHARS // 6)} AS v FROM t",
    "many signs": f"SELECT {'-' * QUERY_CHARS}1 AS v FROM t",
    "many clauses": f"SELECT * FROM t {'GROUP BY ' * (QUERY_CHARS // 9)}",
    "many problems": f"SELECT {chain('nothing{n}()', ', ', QUERY_CHARS // 16)} FROM t",
    "many unsupported conditions": f"SELECT * FROM t WHERE {chain('random({n}) = 1', ' AND ', QUERY_CHARS // 22)}",
    "many bind parameters": f"SELECT * FROM t WHERE id IN ARRAY[{chain('?', ', ', QUERY_CHARS // 4)}]",
    "a query that is too long": "SELECT " + "x" * 100_001,
}  # fmt: skip

DOCUMENT_BOMBS: dict[str, Callable[[], str]] = {
    "many queries of a stream": lambda: stream(*(f"SELECT * FROM t{n} WHERE a{n} = auth.user_id()" for n in range(3000))),
    "many equal queries of a stream": lambda: stream(*["SELECT * FROM t WHERE a = auth.user_id()"] * 3500),
    "many streams": lambda: "config: {edition: 3}\nstreams:\n" + _lines("  s{n}: {query: SELECT * FROM t WHERE a = auth.user_id()}"),
    "many small streams": lambda: "config: {edition: 3}\nstreams:\n" + _lines("  s{n}: {query: SELECT * FROM t}"),
    "many streams with problems": lambda: "config: {edition: 3}\nstreams:\n" + _lines("  s{n}: {query: SELECT x(), y() FROM t LIMIT 1}"),
    "many streams with problems in a line": lambda: "config: {edition: 3}\nstreams: {"
    + chain("s{n}: {query: SELECT x() FROM t LIMIT 1}", ", ", DOCUMENT_CHARS // 45)
    + "}",
    "many subqueries with a name": lambda: "config: {edition: 3}\nwith:\n"
    + _lines("  c{n}: SELECT id FROM l WHERE o = auth.user_id()", size=70_000)
    + "\nstreams:\n" + _lines("  s{n}: {query: SELECT * FROM t WHERE id IN c{n}}", size=65_000),
    "many uses of a large subquery": lambda: "config: {edition: 3}\nwith:\n"
    + f"  c: SELECT id FROM l WHERE {chain('x = {n}', ' OR ', 3000)}\nstreams:\n"
    + _lines("  s{n}: {query: SELECT * FROM t WHERE id IN c}", size=70_000),
    "large queries": lambda: stream(*[_where('id = {n}', ' OR ', 5000)] * 2),
    "many bucket definitions": lambda: "bucket_definitions:\n" + _lines("  b{n}: {data: [SELECT * FROM t]}"),
    "many data queries": lambda: "bucket_definitions: {b: {data: [" + chain("SELECT * FROM t{n}", ", ", 6000) + "]}}",
    "many parameter queries": lambda: "bucket_definitions: {b: {parameters: ["
    + chain("SELECT id FROM t{n}", ", ", 4000)
    + "], data: [SELECT * FROM t WHERE id = bucket.id]}}",
    "many bucket parameters": lambda: definition(
        _where('a{n} = bucket.a{n}', ' AND ', 2000),
        parameters=f"SELECT {chain('a{n}', ', ', 2000)} FROM u",
    ),
    "products of bucket parameters": lambda: definition(
        f"SELECT * FROM t WHERE {product(500, 4, 'a{g} = bucket.a')}", parameters="SELECT id AS a FROM u"
    ),
    "products of request values": lambda: definition(
        "SELECT * FROM t WHERE a = bucket.a",
        parameters=f"SELECT id AS a FROM u WHERE {product(500, 4, 'a{g} = request.user_id()')}",
    ),
    "hundred ORs of a parameter": lambda: definition(
        _where('a{n} = bucket.a', ' OR ', 3000), parameters="SELECT id AS a FROM u"
    ),
    "many events": lambda: "bucket_definitions: {b: {data: [SELECT * FROM t]}}\nevent_definitions:\n"
    + _lines("  e{n}: {payloads: [SELECT a FROM t]}"),
}  # fmt: skip
