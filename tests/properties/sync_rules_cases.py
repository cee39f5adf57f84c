"""Generated sync rules of every kind of parameter query and data query, with rows and connections that they are about.

A case is made from a seed and its number alone. `constructs` names what is in it, so that a run can say what it proved.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from syncline.protocol.bucket_names import SyncValue
from tests.unit.sync_config.migration.seeing import Connection, SourceRow

__all__ = ["COLUMNS", "RulesCase", "make_case"]

COLUMNS = {
    "todos": ("id", "owner", "helper", "list_id", "org", "tags", "state", "n", "meta", "flag", "_hidden"),
    "lists": ("id", "owner", "org", "tag", "people", "archived", "meta"),
    "members": ("id", "list_id", "owner", "org", "tag", "n"),
    "settings": ("id", "enabled", "n"),
    "log_a": ("id", "owner", "org", "_part"),
    "log_b": ("id", "owner", "org"),
}
"""The tables of the source. Columns of one name hold values of one kind in all tables."""

_VALUES: dict[str, Sequence[SyncValue]] = {
    "owner": ("u1", "u1", "u2", "u3", None),
    "helper": ("u1", "u2", None, "null"),
    "list_id": ("L1", "L1", "L2", "L3", None),
    "org": (1, 1, 1.0, 2, "1", None),
    "tag": ("a", "a", "b", "c", None),
    "tags": ('["a","b"]', '["b"]', '["a",1,null]', '["u1","a"]', "[]", '{"k":"a"}', '"a"', None, "[broken"),
    "people": ('["u1"]', '["u1","u2"]', "[]", '{"k":"u1"}', None, "1"),
    "state": ("open", "done", None, ""),
    "n": (0, 1, 2, 3.5, -1, None, "2"),
    "meta": ('{"a":1,"b":{"c":"x"},"b.c":"y","z":null}', '{"a":"1"}', '{"z":null}', None, "nope", "[1,2]"),
    "flag": (0, 1, 1, None, "1"),
    "archived": (0, 0, 1, None),
    "enabled": (1, 0),
    "_hidden": ("h",),
    "_part": (1, None),
}
_LIST_IDS = ("L1", "L2", "L3")
_TABLES_OF = {"u": ("owner",), "l": ("list_id", "id"), "o": ("org",), "t": ("tag",)}
"""Parameters by what they hold (user, list, organisation, tag), and the columns that hold the same."""

_REQUEST = {
    "u": ("request.user_id()", "token_parameters.user_id", "request.jwt() ->> 'sub'", "request.parameters() ->> 'as'", "'u1'"),
    "l": ("request.jwt() ->> 'list'", "user_parameters.list", "request.parameter('list')", "'L1'", "request.jwt() ->> 'none'"),
    "o": ("request.jwt() ->> 'org'", "token_parameters.org", "request.parameters() ->> 'org'", "1",
          "CAST(request.jwt() ->> 'org' AS text)"),
    "t": ("request.jwt() ->> 'tag'", "request.jwt() ->> 'deep.tag'", "json_extract(request.jwt(), '$.deep.tag')",
          "lower('A')", "token_parameters.tag"),
}  # fmt: skip
_REQUEST_LISTS = {
    "u": ("request.jwt() -> 'people'", "request.parameters() -> 'people'"),
    "l": ("request.jwt() -> 'lists'", "request.jwt() -> 'deep.lists'", "request.parameters() -> 'lists'"),
    "o": ("request.jwt() -> 'orgs'", "token_parameters.orgs"),
    "t": ("request.jwt() -> 'tags'", "request.jwt() ->> 'tags'", "request.jwt() -> 'tag'", "request.jwt() -> 'deep'", "'[\"a\",\"c\"]'"),
}  # fmt: skip
_REQUEST_TESTS = (
    "request.jwt() ->> 'role' = 'admin'",
    "request.jwt() ->> 'role' != 'guest'",
    "NOT (request.jwt() ->> 'role' != 'admin')",
    "request.user_id() IN (request.jwt() -> 'people')",
    'request.user_id() IN \'["u1","u2"]\'',
    "NOT (request.user_id() IN (request.parameters() -> 'people'))",
    "request.jwt() ->> 'z' IS NULL",
    "request.jwt() ->> 'z' = 'null'",
    "request.jwt() ->> 'ok'",
    "(request.jwt() ->> 'role' = 'admin' OR request.user_id() = 'u1')",
    "1 = 1",
)
_ROW_TESTS: dict[str, Sequence[str]] = {
    "todos": (
        "state != 'done'", "state != owner", "n > 1", "2 >= n", "NOT (state = 'open')", "NOT (state != 'open')", "flag", "NOT flag",
        "owner IS NOT NULL", "meta ->> 'a' = 1", "meta ->> 'b.c' = 'x'", "meta ->> 'z' IS NULL", "json_extract(meta, '$.z') = 'null'",
        "state IN '[\"open\",\"\"]'", "'a' IN tags", "NOT ('a' IN tags)", "owner IN tags", "(state != 'done' OR n < 2)",
        "NOT (n > 1 OR NOT ('a' IN tags))", "length(owner) - 1 = 1", "(n = 1) != (flag = 1)", "1 = 1", "n + 0 || '' = '2'",
        "ifnull(n != 1, 1) = 1", "typeof(org) != 'text'", "(1 = 0 OR n > 0)",
    ),
    "lists": ("archived = 0", "archived != 1", "NOT archived", "'u1' IN people", "meta ->> 'a' = 1", "id != 'L3'", "1 = 1"),
    "members": ("n > 0", "n != 2", "tag IN '[\"a\",\"b\"]'", "(n = 1 OR tag = 'a')", "owner IS NOT NULL"),
    "settings": ("enabled", "n != 1", "1 = 1"),
    "log": ("owner != 'u2'", "_table_suffix = 'a'", "_table_suffix != 'b'", "org IS NOT NULL"),
}  # fmt: skip
_ELEMENT_TESTS = {
    "u": (
        "value != 'u2'",
        "value = request.user_id()",
        "value IN (request.parameters() -> 'people')",
        "length(value) = 2",
    ),
    "l": ("value != 'L1'", "NOT (value = 'L3')", "value > 'L1'"),
    "o": ("value > 0", "value = request.jwt() ->> 'org'", "typeof(value) = 'real'"),
    "t": ('value IN \'["a","b"]\'', "value IS NOT NULL", "(value = 'a' OR request.jwt() ->> 'role' = 'admin')"),
}
_MIXED_ELEMENT_TESTS = ("value != request.user_id()", "NOT (value = request.user_id())", "value > request.user_id()")


@dataclass(slots=True)
class RulesCase:
    """Sync rules with what they are tried on. `may_be_refused`: something is in them that streams cannot say."""

    config: str
    rows: list[SourceRow]
    connections: list[Connection]
    constructs: set[str] = field(default_factory=set[str])
    may_be_refused: bool = False


def make_case(seed: int, number: int) -> RulesCase:
    """The case of this number."""
    return _Maker(random.Random(f"{seed}/{number}")).case()


class _Maker:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._constructs: set[str] = set()
        self._may_be_refused = False

    def case(self) -> RulesCase:
        config = self._options()
        config += "bucket_definitions:\n" + "".join(self._definition(f"d{n}") for n in range(self._rng.randint(1, 2)))
        rows = [row for table in COLUMNS for row in self._rows(table)]
        return RulesCase(config, rows, self._connections(), self._constructs, self._may_be_refused)

    # Chances

    def _pick(self, options: Sequence[str], construct: str = "") -> str:
        if construct:
            self._constructs.add(construct)
        return self._rng.choice(options)

    def _chance(self, share: float, construct: str = "") -> bool:
        happens = self._rng.random() < share
        if happens and construct:
            self._constructs.add(construct)
        return happens

    # The config

    def _options(self) -> str:
        if self._chance(0.2, "option: edition 2"):
            return "config:\n  edition: 2\n"
        if self._chance(0.25, "option: fixed_json_extract"):
            return "config:\n  fixed_json_extract: true\n"
        return ""

    def _definition(self, name: str) -> str:
        parameters = self._rng.sample("ulot", self._rng.choice((0, 1, 1, 1, 1, 2, 2, 3)))
        settings = ""
        own_priority = self._chance(0.2, "definition: priority")
        if own_priority:
            settings += f"    priority: {self._rng.randint(0, 3)}\n"
        if self._chance(0.1, "definition: accept_potentially_dangerous_queries"):
            settings += "    accept_potentially_dangerous_queries: true\n"
        count = self._rng.choice((1, 1, 1, 2, 2, 3)) if parameters else self._rng.choice((0, 1, 1))
        queries = [self._parameter_query(parameters, priorities=not own_priority) for _ in range(count)]
        if not queries:
            self._constructs.add("definition: global")
        if count > 1:
            self._constructs.add("definition: several parameter queries")
        data = [self._data_query(parameters) for _ in range(self._rng.choice((1, 1, 2, 3)))]
        return f"  {name}:\n{settings}{_list('parameters', queries)}{_list('data', data)}"

    def _parameter_query(self, parameters: Sequence[str], *, priorities: bool) -> str:
        make: Callable[[Sequence[str]], tuple[list[str], str]]
        make = self._rng.choice((self._static, self._elements, self._table, self._table, self._table))
        columns, rest = make(parameters)
        if priorities and "json_each" not in rest and self._chance(0.15, "parameters: _priority"):
            columns.append(f"{self._rng.randint(0, 3)} AS _priority")
        return f"SELECT {', '.join(columns)} {rest}".strip()

    def _static(self, parameters: Sequence[str]) -> tuple[list[str], str]:
        self._constructs.add("parameters: static")
        columns = [f"{self._request(p)} AS {p}" for p in parameters]
        tests = self._tests(_REQUEST_TESTS, "parameters: request filter", 0.4)
        return columns, _where(tests)

    def _elements(self, parameters: Sequence[str]) -> tuple[list[str], str]:
        self._constructs.add("parameters: json_each")
        kind = self._rng.choice(parameters or "ulot")
        columns: list[str] = []
        for p in parameters:
            if p == kind:
                columns.append(
                    self._pick(("value", "value", "value", "upper(value)" if p == "u" else "value")) + f" AS {p}"
                )
            elif self._chance(0.4, "parameters: json_each twice"):
                columns.append(f"value AS {p}")
            else:
                columns.append(f"{self._request(p)} AS {p}")
        tests = self._tests(_ELEMENT_TESTS[kind], "parameters: json_each filter", 0.35)
        tests += self._tests(_REQUEST_TESTS, "parameters: json_each request filter", 0.15)
        if self._chance(0.12, "parameters: json_each mixed with the request"):
            self._may_be_refused = True
            tests.append(self._rng.choice(_MIXED_ELEMENT_TESTS))
        name = " AS e" if self._chance(0.2) else ""
        return columns, f"FROM json_each({self._pick(_REQUEST_LISTS[kind])}){name} {_where(tests)}"

    def _table(self, parameters: Sequence[str]) -> tuple[list[str], str]:
        self._constructs.add("parameters: table")
        table = self._rng.choice(("lists", "members", "settings", "lists", "members"))
        columns: list[str] = []
        selected = 0
        for p in parameters:
            column = self._column_of(table, p)
            if column is None or self._chance(0.25):
                columns.append(f"{self._request(p)} AS {p}")
            else:
                columns.append(f"{column} AS {p}")
                selected += 1
        names = ("existence", "one column", "several columns", "several columns")
        self._constructs.add(f"parameters: table, {names[selected]}")
        return columns, f"FROM {table} {_where(self._table_tests(table))}"

    def _table_tests(self, table: str) -> list[str]:
        tests: list[str] = []
        kinds = [p for p in "ulot" if self._column_of(table, p) is not None]
        for kind in self._rng.sample(kinds, min(len(kinds), self._rng.choice((0, 1, 1, 1, 2)))):
            column = self._column_of(table, kind)
            tests.append(
                self._pick(
                    (f"{column} = {self._request(kind)}", f"{self._request(kind)} = {column}"), "parameters: match"
                )
            )
        if kinds and self._chance(0.15, "parameters: row IN request"):
            kind = self._rng.choice(kinds)
            tests.append(f"{self._column_of(table, kind)} IN ({self._rng.choice(_REQUEST_LISTS[kind][:2])})")
        elif table == "lists" and self._chance(0.2, "parameters: request IN row"):
            tests.append(f"{self._pick(_REQUEST['u'][:3])} IN people")
        elif table == "lists" and self._chance(0.25, "parameters: OR of matches"):
            tests.append("(owner = request.user_id() OR request.user_id() IN people)")
        tests += self._tests(_ROW_TESTS[table], "parameters: row filter", 0.4)
        return tests + self._tests(_REQUEST_TESTS, "parameters: table and request filter", 0.15)

    def _column_of(self, table: str, parameter: str) -> str | None:
        return next((c for c in _TABLES_OF[parameter] if c in COLUMNS[table] and (c != "id" or table == "lists")), None)

    def _request(self, parameter: str) -> str:
        return self._pick(_REQUEST[parameter])

    def _tests(self, options: Sequence[str], construct: str, share: float) -> list[str]:
        if not self._chance(share, construct):
            return []
        return self._rng.sample(options, min(len(options), self._rng.choice((1, 1, 2))))

    def _data_query(self, parameters: Sequence[str]) -> str:
        if set(parameters) <= set("uo") and self._chance(0.2, "data: wildcard"):
            table, source = "log", '"log_%"' + self._pick(("", " AS l"))
            columns = self._pick(("*", "id, _table_suffix AS part", "id, owner"))
        else:
            table, source = "todos", "todos"
            if self._chance(0.15, "data: alias"):
                source = "todos AS tasks"
            columns = self._columns()
        tests = self._matches(table, parameters) + self._tests(_ROW_TESTS[table], "data: row filter", 0.45)
        self._rng.shuffle(tests)
        return f"SELECT {columns} FROM {source} {_where(tests)}".strip()

    def _columns(self) -> str:
        if self._chance(0.35, "data: star"):
            return self._pick(
                ("*", "*", "'z' AS state, *", "*, upper(state) AS state", "id, n + 1 AS n, *", "*, nope AS owner, nope")
            )
        others = ("owner", "state != 'done' AS is_open", "'a' IN tags AS tagged", "meta ->> 'z' AS z", "n > 1 AS big", "1 AS one",
                  "NOT (state != owner) AS same", "meta -> 'b' AS b", "n + 1 || '' AS next", "tags", "nope")  # fmt: skip
        return ", ".join(["id", *self._rng.sample(others, self._rng.randint(0, 3))])

    def _matches(self, table: str, parameters: Sequence[str]) -> list[str]:
        tests: list[str] = []
        has_array = table != "todos"
        for p in parameters:
            columns = {"u": "owner", "l": "list_id", "o": "org", "t": "state"}
            column, bucket = columns[p], f"bucket.{p}"
            if not has_array and self._chance(0.7 if p == "t" else 0.1, "data: parameter IN row"):
                tests.append(f"{bucket} IN tags")
                has_array = True
            elif table == "todos" and p == "u" and self._chance(0.15, "data: OR of matches"):
                tests.append(f"(owner = {bucket} OR helper = {bucket})")
            elif self._chance(0.15, "data: match of an expression"):
                tests.append(f"{column} || '' = {bucket}")
            elif table == "todos" and self._chance(0.12, "data: parameter matched twice"):
                tests.append(f"{column} = {bucket}")
                tests.append(f"{bucket} = helper" if has_array else f"{bucket} IN tags")
                has_array = True
            elif self._chance(0.08, "data: match of a constant"):
                tests.append(f"{bucket} = {self._pick(('1', chr(39) + 'u1' + chr(39), chr(39) + 'L1' + chr(39)))}")
            else:
                tests.append(self._pick((f"{column} = {bucket}", f"{bucket} = {column}")))
        return tests

    # Rows and connections

    def _rows(self, table: str) -> list[SourceRow]:
        count = 12 if table == "todos" else self._rng.randint(0, 4)
        ids = _LIST_IDS if table == "lists" else tuple(f"{table}{n}" for n in range(count))
        return [
            SourceRow(table, {c: row_id if c == "id" else self._rng.choice(_VALUES[c]) for c in COLUMNS[table]})
            for row_id in ids[:count]
        ]

    def _connections(self) -> list[Connection]:
        tokens: list[Connection] = []
        for user in ("u1", "u2"):
            token = {
                "sub": user,
                "role": self._rng.choice(("admin", "admin", "guest", None)),
                "org": self._rng.choice((1, 1, 2, "1", None)),
                "list": self._rng.choice(("L1", "L2", None)),
                "tag": self._rng.choice(("a", "b", 5)),
                "z": None,
                "ok": self._rng.choice((True, False)),
                "people": self._rng.choice((["u1", "u2"], ["u2"], "u1", {"k": "u1"}, None)),
                "lists": self._rng.choice((["L1", "L2"], ["L3", None], [])),
                "orgs": self._rng.choice(([1, 2], ["1"], 1)),
                "tags": self._rng.choice((["a", "c"], ["b", 1], {"k": "a"}, "a")),
                "deep": {"tag": "a", "lists": ["L1"]},
                "deep.tag": "b",
                "deep.lists": ["L2", "L3"],
                "parameters": self._rng.choice(({"org": 1, "tag": "a", "orgs": "[1]"}, {"tag": "b", "orgs": [1, 2]}, None, [])),
            }  # fmt: skip
            kept = {key: value for key, value in token.items() if key == "sub" or self._rng.random() < 0.9}
            parameters = {"as": user, "list": "L1", "org": 1, "people": ["u1", "u2"], "lists": ["L1", "L3"]}
            tokens.append(Connection(kept, {k: v for k, v in parameters.items() if self._rng.random() < 0.8}))
        return tokens


def _where(tests: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(tests)}" if tests else ""


def _list(key: str, queries: Sequence[str]) -> str:
    return f"    {key}:\n" + "".join(f"      - |\n        {query}\n" for query in queries) if queries else ""
