"""A report over synced rows as a data frame. Needs syncline[pandas]."""

# pyright: reportUnknownMemberType=false
import os
from datetime import UTC, datetime, timedelta

from syncline.client import HttpConnector, new_id
from syncline.client.blocking import SyncDatabase
from syncline.client.frames import to_pandas
from todo_schema import SCHEMA

FIRST = datetime(2030, 1, 1, tzinfo=UTC)

with SyncDatabase("report.db", schema=SCHEMA) as db:
    todos = [[new_id(), f"Todo {day}", day % 3 == 0, FIRST + timedelta(days=10 * day)] for day in range(9)]
    db.execute_many("INSERT INTO todos (id, title, done, due) VALUES (?, ?, ?, ?)", todos)
    db.sync_once(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]), timeout=30)
    frame = to_pandas(db, "SELECT due, done FROM todos")  # a time column and a boolean one, as the schema says
    by_month = frame.groupby(frame["due"].dt.strftime("%Y-%m"))["done"].agg(["size", "sum"])
    print(by_month.to_string())
