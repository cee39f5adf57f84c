"""`explain_visibility`: joins what was found out about a row and about a connection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation

from syncline.sync_config.explain.connection_explanation import ConnectionExplanation, QuerierExplanation, UserBucket
from syncline.sync_config.explain.row_explanation import QueryExplanation, RowExplanation, RowPlace
from syncline.sync_config.explain.shown_value import ShownValue, ValueType
from syncline.sync_config.explain.visibility_explanation import (
    Difference,
    Likeness,
    Obstacle,
    ObstacleKind,
    Parameter,
    VisibilityExplanation,
    Way,
)

__all__ = ["explain_visibility"]

_NUMBERS = (ValueType.INTEGER, ValueType.REAL)


def explain_visibility(row: RowExplanation, connection: ConnectionExplanation) -> VisibilityExplanation:
    """Whether the connection's user sees the row, and through which bucket, stream and parameter; if not, why not.

    Raises ValueError where the two explanations were made with different bucket prefixes: then no bucket is the same.
    """
    if row.bucket_prefix != connection.bucket_prefix:
        raise ValueError("The row and the connection were explained with different bucket prefixes")
    ways = list(dict.fromkeys(_ways(row, connection)))
    obstacles = [] if ways else list(dict.fromkeys(_obstacles(row, connection)))
    return VisibilityExplanation(f"{row.schema}.{row.table}", connection.user_id, tuple(ways), tuple(obstacles))


def _queriers(connection: ConnectionExplanation, source: str) -> Iterator[tuple[str, str, QuerierExplanation]]:
    """What the connection asks of one bucket source: stream, subscription, querier."""
    for stream in connection.streams:
        for subscription in stream.subscriptions:
            for querier in subscription.queriers:
                if querier.bucket_source == source:
                    yield stream.name, subscription.label, querier


def _ways(row: RowExplanation, connection: ConnectionExplanation) -> Iterator[Way]:
    for query in row.queries:
        placed = [place for place in query.places if place.bucket is not None]
        for stream, subscription, querier in _queriers(connection, query.bucket_source):
            names = {bucket.name for bucket in querier.buckets}
            for place in placed:
                if place.bucket in names:
                    parameters = _parameters(place, querier)
                    yield Way(
                        place.bucket,
                        stream,
                        subscription,
                        query.origins,
                        query.object_type,
                        place.object_id,
                        parameters,
                    )


def _parameters(place: RowPlace, querier: QuerierExplanation) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(named.sql, named.value, key.through)
        for named, key in zip(place.keys, querier.keys, strict=True)
        if named.value is not None
    )


def _obstacles(row: RowExplanation, connection: ConnectionExplanation) -> Iterator[Obstacle]:
    if not row.queries:
        yield Obstacle(ObstacleKind.NO_QUERY, f"No query of the config selects from {row.schema}.{row.table}")
    for query in row.queries:
        places = [place for place in query.places if place.bucket is not None]
        if not places:
            yield Obstacle(ObstacleKind.NOT_IN_BUCKET, f"The row is in no bucket: {query.reason}", query.origins)
        for place in places:
            yield from _obstacles_of_place(query, place, connection)


def _obstacles_of_place(
    query: QueryExplanation, place: RowPlace, connection: ConnectionExplanation
) -> Iterator[Obstacle]:
    for stream in query.streams:
        if stream in connection.not_subscribed:
            reason = f"The row is in bucket {place.bucket}, but the connection is not subscribed to stream {stream}"
            yield Obstacle(ObstacleKind.NOT_SUBSCRIBED, reason, query.origins, place.bucket, stream)
    for stream, subscription, querier in _queriers(connection, query.bucket_source):
        reason = f"The row is in bucket {place.bucket}, which stream {stream} ({subscription}) does not ask for"
        if querier.buckets:
            differences = _differences(place, querier)
            yield Obstacle(ObstacleKind.OTHER_VALUES, reason, query.origins, place.bucket, stream, differences)
        else:
            reason = f"{reason}: {querier.reason}"
            differences = _fixed_differences(place, querier)
            yield Obstacle(ObstacleKind.NO_BUCKETS, reason, query.origins, place.bucket, stream, differences)


def _differences(place: RowPlace, querier: QuerierExplanation) -> tuple[Difference, ...]:
    """The keys in which the closest bucket of the user differs from the row's."""
    row = [named.value for named in place.keys]
    closest = max(querier.buckets, key=lambda bucket: _closeness(row, bucket))
    found: list[Difference] = []
    for number, (named, key) in enumerate(zip(place.keys, querier.keys, strict=True)):
        if named.value is None or _same(named.value, closest.values[number]):
            continue
        # With one key, every value that the user has is of interest; with several, only those of the closest bucket.
        buckets = querier.buckets if len(querier.keys) == 1 else (closest,)
        values = tuple(dict.fromkeys(bucket.values[number] for bucket in buckets))
        found.append(Difference(named.sql, named.value, values, key.through, _likeness(named.value, values)))
    return tuple(found)


def _fixed_differences(place: RowPlace, querier: QuerierExplanation) -> tuple[Difference, ...]:
    """The keys whose value the connection alone fixes, where that is another value than the row's."""
    found: list[Difference] = []
    for named, key in zip(place.keys, querier.keys, strict=True):
        fixed = tuple(dict.fromkeys(one.value for one in key.fixed if one.value is not None))
        if named.value is not None and fixed and not any(_same(named.value, value) for value in fixed):
            ways = tuple(one.sql for one in key.fixed)
            found.append(Difference(named.sql, named.value, fixed, ways, _likeness(named.value, fixed)))
    return tuple(found)


def _closeness(row: Sequence[ShownValue | None], bucket: UserBucket) -> int:
    """Equal values count more than nearly equal ones."""
    total = 0
    for mine, theirs in zip(row, bucket.values, strict=True):
        if mine is not None:
            total += 1000 if _same(mine, theirs) else _likeness(mine, (theirs,)) is not Likeness.NONE
    return total


def _same(left: ShownValue, right: ShownValue) -> bool:
    if left.type in _NUMBERS and right.type in _NUMBERS:
        return _number(left.text) == _number(right.text)
    return left == right


def _likeness(value: ShownValue, others: Sequence[ShownValue]) -> Likeness:
    """Whether one of the others looks like the value, but is not equal to it."""
    for other in others:
        if ValueType.TEXT in (value.type, other.type) and (value.type in _NUMBERS or other.type in _NUMBERS):
            number = _number(value.text)
            if number is not None and number == _number(other.text):
                return Likeness.TYPE
    folded = value.text.strip("' ").casefold()
    texts = (other for other in others if value.type is ValueType.TEXT and other.type is ValueType.TEXT)
    if any(folded == other.text.strip("' ").casefold() for other in texts):
        return Likeness.CASE_OR_BLANKS
    return Likeness.NONE


def _number(text: str) -> Decimal | None:
    """The number in a shown value, also in a text."""
    try:
        number = Decimal(text.strip("' "))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
