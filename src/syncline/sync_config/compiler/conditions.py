"""Conditions as AND/OR trees over terms, and their disjunctive normal form (sync config reference, 2.6)."""

from __future__ import annotations

from dataclasses import dataclass

from syncline.sync_config.compiler.expressions import Apply, Expression, all_of, any_of
from syncline.sync_config.compiler.sources import REQUEST, Sources
from syncline.sync_config.problems import ProblemKind
from syncline.sync_config.source_text import Span
from syncline.sync_config.sql.tokens import SqlError

__all__ = ["VARIANTS_MAX", "VARIANT_TERMS_MAX", "AllOf", "AnyOf", "Condition", "Term", "variants_of"]

VARIANTS_MAX = 100  # terms of the disjunctive normal form (reference 2.6)
VARIANT_TERMS_MAX = (
    10_000  # conditions in all variants of a query together; a hundred variants of a long query have 1,000
)


@dataclass(frozen=True, slots=True)
class Term:
    """A condition without AND and OR that concern more than one source."""

    expression: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class AllOf:
    """All parts hold; without parts: always."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Condition, ...]


Condition = Term | AllOf | AnyOf
Variant = tuple[Term, ...]


def single_owner(expression: Expression, sources: Sources) -> int | None:
    """The one unit that a filter reads (REQUEST also for constants), or None for a term across units."""
    owners = sources.owners(expression)
    if not owners:
        return REQUEST
    return next(iter(owners)) if len(owners) == 1 else None


def variants_of(condition: Condition, sources: Sources, span: Span) -> list[Variant]:
    """The alternatives (OR of ANDs), simplified and in the order in which buckets are numbered.

    The order is: several terms, single equalities across sources, request filters merged into one, and one merged row filter per
    source (reference 3.1). Raises SqlError above VARIANTS_MAX.
    """
    alternatives = [_merge_filters(variant, sources) for variant in _distribute(_collapse(condition, sources), span)]
    several = [variant for variant in alternatives if len(variant) != 1]
    across: list[Variant] = []
    filters: dict[int, list[Term]] = {}
    for variant in alternatives:
        if len(variant) == 1:
            owner = single_owner(variant[0].expression, sources)
            if owner is None:
                across.append(variant)
            else:
                filters.setdefault(owner, []).append(variant[0])
    merged = [(_any_term(terms),) for _, terms in sorted(filters.items(), key=lambda item: item[0])]
    return list(dict.fromkeys([*several, *across, *merged]))


def _any_term(terms: list[Term]) -> Term:
    return Term(any_of(tuple(dict.fromkeys(term.expression for term in terms))), terms[0].span)


def _collapse(condition: Condition, sources: Sources) -> Condition:
    """Alternatives and conjunctions inside of one unit become single terms: they are filters, not variants."""
    if isinstance(condition, Term):
        return condition
    parts: list[Condition] = []
    kind = type(condition)
    for part in condition.parts:
        collapsed = _collapse(part, sources)
        parts += collapsed.parts if isinstance(collapsed, kind) else [collapsed]
    terms = [part for part in parts if isinstance(part, Term)]
    owners = {single_owner(term.expression, sources) for term in terms}
    if parts and len(terms) == len(parts) and len(owners) == 1 and None not in owners:
        expressions = tuple(dict.fromkeys(term.expression for term in terms))
        joined = all_of(expressions) if isinstance(condition, AllOf) else any_of(expressions)
        return Term(joined, terms[0].span)
    return parts[0] if len(parts) == 1 else kind(tuple(parts))


def _distribute(condition: Condition, span: Span) -> list[Variant]:
    if isinstance(condition, Term):
        return [(condition,)]
    if isinstance(condition, AnyOf):
        alternatives = [variant for part in condition.parts for variant in _distribute(part, span)]
        if len(alternatives) > VARIANTS_MAX:
            raise _too_many(span)
        return alternatives
    common: list[Term] = []  # in every alternative: added once, at the end
    alternatives: list[Variant] = [()]
    for part in condition.parts:
        more = _distribute(part, span)
        if len(more) == 1:
            common += more[0]
            continue
        if len(alternatives) * len(more) > VARIANTS_MAX:
            raise _too_many(span)
        alternatives = [(*left, *right) for left in alternatives for right in more]
    if sum(map(len, alternatives)) + len(alternatives) * len(common) > VARIANT_TERMS_MAX:
        message = f"The condition has more than {VARIANT_TERMS_MAX} terms when its ORs are multiplied out"
        hint = "Write several queries, or fewer ORs inside of ANDs."
        raise SqlError(message, span, kind=ProblemKind.TOO_MANY_TERMS, hint=hint)
    return [(*common, *variant) for variant in alternatives]


def _too_many(span: Span) -> SqlError:
    return SqlError(
        f"The condition has more than {VARIANTS_MAX} alternatives when its ORs are multiplied out",
        span,
        kind=ProblemKind.TOO_MANY_TERMS,
        hint="Write several queries, or fewer ORs inside of ANDs.",
    )


def _merge_filters(variant: Variant, sources: Sources) -> Variant:
    """A variant that is nothing but filters of one unit becomes one term."""
    owners = {single_owner(term.expression, sources) for term in variant}
    if len(variant) > 1 and len(owners) == 1 and None not in owners:
        return (Term(all_of(tuple(term.expression for term in variant)), variant[0].span),)
    return variant


def is_equality(expression: Expression) -> bool:
    """Whether the expression is `left = right`."""
    return isinstance(expression, Apply) and expression.name == "="
