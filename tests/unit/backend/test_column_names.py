from __future__ import annotations

import pytest

from syncline.backend import TablePolicy
from syncline.backend.column_names import camel_case, snake_case, with_column_names
from syncline.backend.persisters.base import WriteRefused
from syncline.errors import ConfigError


@pytest.mark.requirement(139)
@pytest.mark.parametrize(
    ("device", "snake", "camel"),
    [
        ("createdAt", "created_at", "createdAt"),
        ("created_at", "created_at", "createdAt"),
        ("userID", "user_id", "userID"),
        ("HTTPServer", "http_server", "HTTPServer"),
        ("address2Line", "address2_line", "address2Line"),
        ("id", "id", "id"),
        ("_private_name", "_private_name", "_privateName"),
        ("trailing_", "trailing_", "trailing_"),
        ("größeInMm", "größe_in_mm", "größeInMm"),
        ("Éa", "Éa", "Éa"),
        ("", "", ""),
    ],
)
def test_names_are_brought_to_one_form(device: str, snake: str, camel: str) -> None:
    assert (snake_case(device), camel_case(device)) == (snake, camel)
    assert snake_case(snake) == snake
    assert camel_case(camel) == camel


def test_two_names_of_one_column_are_refused_whatever_their_values() -> None:
    row = {"createdAt": 1, "created_at": 1}
    assert with_column_names(row, None, table="t", operation_index=2) == row
    for names in ("snake_case", "camelCase"):
        with pytest.raises(WriteRefused) as refused:
            with_column_names(row, names, table="t", operation_index=2)
        assert (refused.value.error_code, refused.value.operation_index) == ("SCHEMA_MISMATCH", 2)


def test_a_policy_whose_columns_no_device_could_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="createdAt"):
        TablePolicy(owner=None, columns=["createdAt"], column_names="snake_case")
    with pytest.raises(ConfigError, match="owner_id"):
        TablePolicy(owner="owner_id", column_names="camelCase")
    with pytest.raises(ConfigError, match="no form"):
        TablePolicy(owner=None, column_names="kebab-case")  # pyright: ignore[reportArgumentType]  # wrong on purpose
    with pytest.raises(ConfigError, match="no format"):
        TablePolicy(owner=None, formats={"at": "minutes"})  # pyright: ignore[reportArgumentType]  # wrong on purpose
