"""Mutators that make a query large: deep nesting, long chains, products of ORs, many columns, long names and numbers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

__all__ = ["GROWTH_MUTATORS", "NESTINGS", "chain", "nested", "product"]

NESTINGS = {
    "parentheses": ("(", "id", ")"),
    "not": ("NOT ", "id", ""),
    "not in parentheses": ("NOT (", "id", ")"),
    "plus": ("+ ", "id", ""),
    "function": ("upper(", "id", ")"),
    "case": ("CASE WHEN ", "id", " THEN 1 ELSE 0 END"),
    "else": ("CASE WHEN id THEN 1 ELSE ", "0", " END"),
    "simple case": ("CASE ", "id", " WHEN 1 THEN 2 END"),
    "cast": ("CAST(", "id", " AS text)"),
    "short cast": ("", "id", "::text"),
    "arrow": ("", "meta", " -> 'a'"),
    "concatenation": ("", "id", " || 'a'"),
    "concatenation to the right": ("'a' || (", "id", ")"),
    "in list": ("(", "id", " IN ARRAY[1, 2])"),
    "in list, to the right": ("1 IN ARRAY[", "id", "]"),
    "is null": ("(", "id", ") IS NULL"),
    "between": ("(", "id", ") BETWEEN 1 AND 2"),
    "subquery": ("id IN (SELECT id FROM t WHERE ", "id = 1", ")"),
    "parameter": ("auth.parameter(", "'a'", ")"),
    "or and": ("(id = 1 OR (id = 2 AND ", "id = 3", "))"),
    "or and of two": ("(a = auth.user_id() OR (b = auth.user_id() AND ", "id = 3", "))"),
    "alternate": ("(id = 1 AND NOT (id = 2 OR ", "id = 3", "))"),
}


def nested(kind: str, depth: int) -> str:
    """An expression of this depth."""
    before, inner, after = NESTINGS[kind]
    return before * depth + inner + after * depth


def chain(term: str, joint: str, count: int) -> str:
    """`term` so many times; `{n}` in it is its number."""
    return joint.join(term.replace("{n}", str(number)) for number in range(count))


def product(groups: int, terms: int, term: str) -> str:
    """An AND of ORs: `terms` to the power of `groups` alternatives."""
    return " AND ".join(f"({chain(term.replace('{g}', str(group)), ' OR ', terms)})" for group in range(groups))


TERMS = (
    "id = {n}", "a{n} = auth.user_id()", "a = auth.parameter('p{n}')", "id IN (SELECT id FROM l{n} WHERE o = auth.user_id())",
    "auth.parameter('p{n}') = 1", "id = 1", "a = auth.user_id()", "id IN ARRAY[{n}]", "subscription.parameter('p{n}') IN tags",
    "id IN auth.parameter('p{n}')", "name LIKE '{n}'", "(id = {n} OR a = auth.user_id())", "a = bucket.p", "id != {n}",
)  # fmt: skip


def _size(draw: random.Random, low: int, high: int) -> int:
    """Small ones much more often than large ones."""
    return int(low * (high / low) ** (draw.random() ** 2))


def _more(query: str, text: str) -> str:
    return f"{query} AND {text}" if "WHERE" in query.upper() else f"{query} WHERE {text}"


def nest(draw: random.Random, query: str, _: Sequence[str]) -> str:
    text = nested(draw.choice(list(NESTINGS)), _size(draw, 3, 2000))
    if draw.random() < 0.2:
        return f"SELECT {text} AS v, id FROM t"
    return _more(query, text)


def lengthen(draw: random.Random, query: str, _: Sequence[str]) -> str:
    joint = draw.choice((" OR ", " AND "))
    return _more(query, f"({chain(draw.choice(TERMS), joint, _size(draw, 3, 5000))})")


def multiply(draw: random.Random, query: str, _: Sequence[str]) -> str:
    term = draw.choice(
        ("a{g} = auth.parameter('p{n}')", "id = {n}", "a{g} = auth.user_id()", "auth.parameter('{g}') = {n}")
    )
    text = product(_size(draw, 2, 60), _size(draw, 2, 60), term)
    return _more(query, f"NOT ({text})" if draw.random() < 0.2 else text)


def widen(draw: random.Random, _query: str, _: Sequence[str]) -> str:
    """Many columns, sources, list items or arguments."""
    count = _size(draw, 3, 3000)
    forms = (
        lambda: f"SELECT {chain('a AS a{n}', ', ', count)} FROM t",
        lambda: f"SELECT {chain('a', ', ', count)} FROM t",
        lambda: f"SELECT {chain('*', ', ', count)} FROM t",
        lambda: f"SELECT t.* FROM t, {chain('t{n}', ', ', count)}",
        lambda: f"SELECT t.* FROM t {chain('JOIN t{n} ON t{n}.id = t.id', ' ', count)} WHERE t.id = auth.user_id()",
        lambda: (
            f"SELECT t.id FROM t, {chain('json_each(t.tags) AS j{n}', ', ', count)} WHERE {chain('j{n}.value = 1', ' AND ', count)}"
        ),
        lambda: f"SELECT id FROM t WHERE id IN ARRAY[{chain('{n}', ', ', count)}]",
        lambda: f"SELECT ifnull({chain('a', ', ', count)}) AS v, id FROM t",
        lambda: f"SELECT CASE {chain('WHEN a = {n} THEN {n}', ' ', count)} END AS v, id FROM t",
        lambda: f"SELECT {chain('x', '.', count)} FROM t",
    )
    return draw.choice(forms)()


def stretch(draw: random.Random, query: str, _: Sequence[str]) -> str:
    """A very long name, text, number, comment or blank."""
    count = _size(draw, 10, 120_000)
    long = draw.choice(
        ("x" * count, "'" + "é" * count + "'", "9" * count, " " * count, "/*" + "*" * count + "*/", "''" * count, '""' * count,
         "1." + "0" * count, "e" * count, "\n" * count, "-- a\n" * (count // 5), "(" * count, "." * count, "$" * count)
    )  # fmt: skip
    place = draw.randrange(len(query) + 1)
    return f"{query[:place]} {long} {query[place:]}"


GROWTH_MUTATORS: dict[str, Callable[[random.Random, str, Sequence[str]], str]] = {
    "nest deeply": nest,
    "chain terms": lengthen,
    "multiply ORs": multiply,
    "widen lists": widen,
    "stretch a token": stretch,
}
