"""The tables as devices see them."""

from syncline.client import Column, Schema, Table

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name"), Column.text("owner_id")]),
        Table("todos", [Column.text("list_id"), Column.text("title"), Column.boolean("done")]),
    ]
)
