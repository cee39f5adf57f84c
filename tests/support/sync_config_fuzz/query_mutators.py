"""Mutators of a query's tokens. The mutated query stands in a well-formed document, so that it gets as far as its own mistakes allow."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence

from tests.support.sync_config_fuzz.seeds import Seeds

__all__ = ["QUERY_MUTATORS", "in_document", "quoted"]

QueryMutator = Callable[[random.Random, str, Sequence[str]], str]

_TOKEN = re.compile(
    r"\s+|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\w+(?:\.\w+)*(?:\(\))?|->>|->|\|\||&&|::|<=|>=|!=|<<|>>|.", re.DOTALL
)
WORDS = (
    "SELECT", "FROM", "WHERE", "JOIN", "INNER JOIN", "LEFT JOIN", "CROSS JOIN", "ON", "USING", "AS", "AND", "OR", "NOT", "IN",
    "BETWEEN", "IS", "IS NOT NULL", "IS TRUE", "NULL", "TRUE", "CASE", "WHEN", "THEN", "ELSE", "END", "CAST", "ARRAY[1, 'a']", "ROW(1)",
    "DISTINCT", "GROUP BY", "ORDER BY", "LIMIT 1", "UNION", "UNION ALL SELECT 1", "HAVING", "WITH", "LIKE", "EXISTS", "json_each(tags)",
    "DISTINCT ON (id)", "FOR UPDATE", "OVER (", "FILTER (WHERE 1)", "COLLATE x", "AT TIME ZONE 'x'", "INTERVAL '1'", "VALUES",
)  # fmt: skip
OPERATORS = (
    "=", "!=", "<>", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "||", "&", "|", "<<", ">>", "->", "->>", "&&", "::", "::text", "~",
    "@>", "#>", ",", ".", ";", "(", ")", "()", "[", "]", "^", "?", "$1", ":x",
)  # fmt: skip
VALUES = (
    "auth.user_id()", "auth.parameter('k')", "auth.parameters()", "connection.parameter('$.a.b')", "subscription.parameter('p')",
    "subscription.parameters()", "request.user_id()", "request.jwt() ->> 'k'", "token_parameters.x", "user_parameters.x", "bucket.p",
    "auth.parameter(auth.parameter('k'))", "auth.parameter(id)", "id", "t.id", "tags", "t.*", "*", "1", "0", "-1", "1.5", ".5", "1e5",
    "0x1F", "1_0", "''", "'a'", "'''", "E'\\U00110000'", "'[1,2]'", "'{\"a\":1}'", '"Id"', '""', '"%"', "NULL", "(SELECT id FROM lists)",
    "(SELECT 1)", "(1, 2)", "lower(id)", "upper()", "length(id, 1)", "substring(id from 1 for 2)", "json_extract(meta, '$.a')",
    "unixepoch('now')", "datetime(0, 'unixepoch')", "uuid_blob(id)", "st_x(id)", "random()", "count(*)", "t.schema()",
    "t.table_suffix()", "CASE id WHEN 1 THEN 2 END", "iif(id, 1, 2)", "ifnull(id, 1)", "hex(id)", "typeof(id)", "instr(id, 'a')",
    "9223372036854775808", "9" * 60, "9" * 301, "1e308", "1e309", "'\ud800'", "'\x00'", "é", "ſ",
)  # fmt: skip
CONSTANTS = (
    "0",
    "1",
    "2.5",
    "''",
    "'a'",
    "'1'",
    "'é''😀'",
    "NULL",
    "TRUE",
    "9007199254740993",
    "'[\"a\",1]'",
    "'$.a.0'",
)
NAMES = ("x", '"Ünï x"', "_", "a1", "x$", '"a""b"', '"1"', "select", "é", "x" * 300, "'x'")


def _tokens(query: str) -> list[str]:
    return _TOKEN.findall(query)


def _places(tokens: Sequence[str]) -> list[int]:
    """Where a token stands that is not blank."""
    return [place for place, token in enumerate(tokens) if not token.isspace()] or [0]


def _edit(query: str, edit: Callable[[list[str], list[int]], None]) -> str:
    tokens = _tokens(query) or [" "]
    edit(tokens, _places(tokens))
    return "".join(tokens)


def delete(draw: random.Random, query: str, _: Sequence[str]) -> str:
    def edit(tokens: list[str], places: list[int]) -> None:
        start = draw.choice(places)
        del tokens[start : start + draw.randrange(1, 4)]

    return _edit(query, edit)


def duplicate(draw: random.Random, query: str, _: Sequence[str]) -> str:
    def edit(tokens: list[str], places: list[int]) -> None:
        start = draw.choice(places)
        piece = tokens[start : start + draw.randrange(1, 8)]
        place = draw.choice((start, draw.choice(places)))
        tokens[place:place] = [" ", *piece, " "]

    return _edit(query, edit)


def swap(draw: random.Random, query: str, _: Sequence[str]) -> str:
    def edit(tokens: list[str], places: list[int]) -> None:
        a, b = draw.choice(places), draw.choice(places)
        tokens[a], tokens[b] = tokens[b], tokens[a]

    return _edit(query, edit)


def splice(draw: random.Random, query: str, others: Sequence[str]) -> str:
    """A piece of another query in the place of one of this."""

    def edit(tokens: list[str], places: list[int]) -> None:
        theirs = _tokens(draw.choice(others))
        start, end = sorted((draw.randrange(len(theirs) + 1), draw.randrange(len(theirs) + 1)))
        place = draw.choice(places)
        tokens[place : place + draw.randrange(4)] = [" ", *theirs[start:end][:20], " "]

    return _edit(query, edit)


def _replace_with(pool: Sequence[str], pattern: str) -> QueryMutator:
    """A mutator that puts one of `pool` where a token matches, or at any place."""
    matches = re.compile(pattern)

    def mutate(draw: random.Random, query: str, _: Sequence[str]) -> str:
        def edit(tokens: list[str], places: list[int]) -> None:
            fitting = [place for place in places if matches.fullmatch(tokens[place])] or places
            tokens[draw.choice(fitting)] = f" {draw.choice(pool)} "

        return _edit(query, edit)

    return mutate


def condition(draw: random.Random, query: str, others: Sequence[str]) -> str:
    """One more condition, of parts that fit."""
    left, right = draw.choice((*VALUES, "id", "t.id")), draw.choice(VALUES)
    operator = draw.choice((*OPERATORS[:20], "IN", "NOT IN", "IS NOT", "BETWEEN 1 AND"))
    joint = draw.choice((" AND ", " OR ", " AND NOT ", " OR NOT ")) if "WHERE" in query else " WHERE "
    return f"{query}{joint}{left} {operator} {right}"


def respace(draw: random.Random, query: str, _: Sequence[str]) -> str:
    """Other blanks and comments between the tokens, which mean nothing."""
    blank = draw.choice(("\n", "\t", "  ", "\r\n", " /* x */ ", " -- x\n", "\n\n    ", "\f"))
    return "".join(blank if token.isspace() and draw.random() < 0.5 else token for token in _tokens(query))


def recase(draw: random.Random, query: str, _: Sequence[str]) -> str:
    """Words in other letters: keywords mean the same, quoted names and texts do not change."""
    write = draw.choice((str.upper, str.lower, str.title))
    return "".join(write(token) if token[:1].isalpha() and draw.random() < 0.5 else token for token in _tokens(query))


def rename(draw: random.Random, query: str, _: Sequence[str]) -> str:
    """Another name for everything that has one of the query's names."""
    words = sorted({word for word in re.findall(r"[a-z_]{2,}", query) if word.upper() not in WORDS})
    old, new = draw.choice(words or ["id"]), draw.choice(NAMES)
    return re.sub(rf"\b{old}\b", lambda _: new, query)


def wrap(draw: random.Random, query: str, _: Sequence[str]) -> str:
    """The query as a subquery of another."""
    forms = (
        "SELECT * FROM t WHERE id IN ({})", "SELECT * FROM t WHERE id = ({})", "SELECT * FROM ({}) AS q", "SELECT id FROM ({}) AS q (a, b)",
        "SELECT t.* FROM t JOIN ({}) AS q ON q.id = t.id", "SELECT ({}) AS v FROM t", "SELECT * FROM t WHERE auth.user_id() IN ({})",
        "SELECT * FROM t WHERE ({}) && tags",
    )  # fmt: skip
    return draw.choice(forms).format(query)


QUERY_MUTATORS: dict[str, QueryMutator] = {
    "delete tokens": delete,
    "duplicate tokens": duplicate,
    "swap tokens": swap,
    "splice queries": splice,
    "change a keyword": _replace_with(WORDS, r"(?i)[a-z]+"),
    "change an operator": _replace_with(OPERATORS, r"\W+"),
    "change a value": _replace_with(VALUES, r"[\w.]+(\(\))?|'.*'|\d+"),
    "add a condition": condition,
    "change a constant": _replace_with(CONSTANTS, r"'.*'|[\d.]+"),
    "change blanks": respace,
    "change letters": recase,
    "rename": rename,
    "wrap in a subquery": wrap,
}


def quoted(query: str) -> str:
    """A query as YAML text. Quoted as JSON, nothing in it is YAML's business."""
    return json.dumps(query, ensure_ascii=False)


def in_document(draw: random.Random, queries: Sequence[str], seeds: Seeds, *, legacy: bool) -> str:
    """A document with these queries."""
    texts = [quoted(query) if draw.random() < 0.5 else json.dumps(query) for query in queries]
    listed = f"[{', '.join(texts)}]"
    if not legacy:
        subquery = json.dumps(draw.choice(seeds.stream_queries))
        shape = draw.choice(
            (
                f"streams: {{s: {{auto_subscribe: true, queries: {listed}}}}}",
                f"streams: {{s: {{query: {texts[0]}}}}}",
                f"streams: {{s: {{with: {{c: {texts[0]}, d: {subquery}}}, query: SELECT * FROM t WHERE id IN c}}}}",
            )
        )
        return f"config: {{edition: {2 if draw.random() < 0.03 else 3}}}\n{shape}\n"
    parameters = json.dumps(draw.choice(seeds.legacy_queries))
    shape = draw.choice(
        (
            f"bucket_definitions: {{b: {{data: {listed}}}}}",
            f"bucket_definitions: {{b: {{parameters: {parameters}, data: {listed}}}}}",
            f"bucket_definitions: {{b: {{parameters: {texts[0]}, data: [SELECT * FROM t WHERE x = bucket.list_id]}}}}",
            f"bucket_definitions: {{b: {{parameters: {listed}, data: [SELECT * FROM t]}}}}",
            f"bucket_definitions: {{b: {{data: [SELECT * FROM t]}}}}\nevent_definitions: {{e: {{payloads: {listed}}}}}",
        )
    )
    return f"config: {{edition: {draw.choice((1, 1, 1, 2))}}}\n{shape}\n"
