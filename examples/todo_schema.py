"""The schema that the examples share: a plain module, which an app, its jobs and its tests import."""

from syncline.client import Column, Schema, Table
from syncline.client.attachments import AttachmentTable

SCHEMA = Schema(
    [
        Table("lists", [Column.text("name"), Column.text("owner_id")]),
        Table(
            "todos",
            [
                Column.text("list_id"),
                Column.text("title"),
                Column.boolean("done"),
                Column.datetime("due"),
                Column.text("photo_id"),
                Column.text("owner_id"),
            ],
            indexes={"list": ["list_id"]},
        ),
        Table("notes", [Column.text("list_id"), Column.text("text"), Column.text("owner_id")]),
        Table("history", [Column.text("event"), Column.text("owner_id")]),
        AttachmentTable(),  # stays on the device: where each photo stands
    ]
)
