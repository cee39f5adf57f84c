"""Who may write what. The same rules judge uploads in the app and in its tests."""

from typing import Annotated

from pydantic import BaseModel, Field

from syncline.backend import TablePolicy, via

Name = Annotated[str, Field(min_length=1, max_length=200)]


class TodoList(BaseModel):
    name: Name


class Todo(BaseModel):
    title: Name
    done: bool = False


TABLES = {
    # The owner of a list is the user of the token, whatever a device says.
    "lists": TablePolicy(owner="owner_id", columns=["name"], fields=TodoList),
    # A todo belongs to whom its list belongs.
    "todos": TablePolicy(owner=via("lists", "list_id"), columns=["list_id", "title", "done"], fields=Todo),
}
