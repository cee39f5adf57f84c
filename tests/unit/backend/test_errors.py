from __future__ import annotations

import psycopg
import pytest

from syncline.backend.persisters.base import RetryLater, UnknownFailure, WriteRefused
from syncline.backend.persisters.postgres.errors import is_conflict, verdict_over


class Unknown(psycopg.Error):
    """A state that no class of the driver stands for."""

    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("the text may quote a value")
        self.sqlstate = sqlstate  # pyright: ignore[reportIncompatibleVariableOverride]  # the driver's is read-only


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("23502", "NOT_NULL_VIOLATION"),
        ("23503", "FOREIGN_KEY_VIOLATION"),
        ("23505", "UNIQUE_VIOLATION"),
        ("23514", "CHECK_VIOLATION"),
        ("23P01", "CONSTRAINT_VIOLATION"),
        ("22P02", "INVALID_DATA"),
        ("22003", "INVALID_DATA"),
        ("42703", "SCHEMA_MISMATCH"),
        ("42P01", "SCHEMA_MISMATCH"),
        ("42501", "UNAUTHORIZED"),
        ("P0001", "UNCLASSIFIED_ERROR"),
        ("54000", "UNCLASSIFIED_ERROR"),
    ],
)
def test_what_will_never_go_through_is_refused_with_a_code(sqlstate: str, code: str) -> None:
    verdict = verdict_over(Unknown(sqlstate), operation_index=4)
    assert isinstance(verdict, WriteRefused)
    assert (verdict.error_code, verdict.operation_index) == (code, 4)
    assert "quote" not in verdict.message


@pytest.mark.parametrize("sqlstate", ["08006", "40001", "40P01", "53300", "55P03", "57P01", "57014", "58030", None])
def test_what_may_go_through_later_is_retried(sqlstate: str | None) -> None:
    assert type(verdict_over(Unknown(sqlstate), operation_index=0)) is RetryLater


@pytest.mark.requirement(148)
@pytest.mark.parametrize("sqlstate", ["XX000", "0A000", "25P02", "HV000"])
def test_what_nobody_knows_is_retried_and_counted(sqlstate: str) -> None:
    verdict = verdict_over(Unknown(sqlstate), operation_index=4)
    assert isinstance(verdict, UnknownFailure)
    assert (verdict.error_code, verdict.operation_index) == ("UNCLASSIFIED_ERROR", 4)
    assert "quote" not in str(verdict)


@pytest.mark.parametrize("exc", [psycopg.OperationalError("gone"), psycopg.InterfaceError("closed")])
def test_a_lost_connection_is_retried(exc: psycopg.Error) -> None:
    assert type(verdict_over(exc, operation_index=0)) is RetryLater


@pytest.mark.parametrize("exc", [psycopg.DataError("cannot dump"), psycopg.ProgrammingError("cannot adapt")])
def test_what_the_driver_itself_refuses_is_never_retried(exc: psycopg.Error) -> None:
    verdict = verdict_over(exc, operation_index=1)
    assert isinstance(verdict, WriteRefused)
    assert verdict.error_code == "INVALID_DATA"


def test_only_conflicts_between_transactions_are_tried_again_at_once() -> None:
    states = ["40001", "40P01", "40002", "23505", "57P01", None]
    assert [state for state in states if is_conflict(Unknown(state))] == ["40001", "40P01"]
