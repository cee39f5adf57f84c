"""SQLAlchemy over the shared schema: the ORM's writes are uploaded, and what sync brings it reads. Needs syncline[sqlalchemy]."""

import os
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session, registry

from syncline.client import HttpConnector
from syncline.client.blocking import SyncDatabase
from syncline.client.sqlalchemy import create_engine, metadata_from_schema
from todo_schema import SCHEMA


@dataclass
class TodoList:
    name: str
    owner_id: str | None = None  # the backend sets it
    id: str | None = None


registry().map_imperatively(TodoList, metadata_from_schema(SCHEMA).tables["lists"])

with SyncDatabase("orm.db", schema=SCHEMA) as db:
    engine = create_engine(db)
    with Session(engine) as session:
        session.add(TodoList("Books"))
        session.commit()  # stored, and queued for its upload, in one transaction
    db.sync_once(HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]), timeout=30)
    with Session(engine) as session:
        for todo_list in session.scalars(sa.select(TodoList)):
            print(f"{todo_list.name} belongs to {todo_list.owner_id}")
    engine.dispose()
