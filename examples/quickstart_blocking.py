"""The quickstart as a plain script: the same names without `await`. Needs nothing but syncline."""

import os

from syncline.client import Column, HttpConnector, Schema, Table
from syncline.client.blocking import SyncDatabase

schema = Schema([Table("lists", [Column.text("name"), Column.text("owner_id")])])

with SyncDatabase("quickstart.db", schema=schema) as db:
    db.execute("INSERT INTO lists (id, name) VALUES (uuid(), ?)", ["Groceries"])  # at once, also offline
    db.connect(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]))
    db.trigger_sync(timeout=30)
    for row in db.get_all("SELECT name, owner_id FROM lists ORDER BY name"):
        print(f"{row['name']}: the backend says that it is {row['owner_id']}'s")
