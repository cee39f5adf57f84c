"""The tables. Ids are UUIDs, because devices make them."""

import uuid

from django.conf import settings
from django.db import models


class TodoList(models.Model):
    """Belongs to the user who has made it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=200)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)

    class Meta:
        db_table = "lists"


class Todo(models.Model):
    """Belongs to whom its list belongs."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    list = models.ForeignKey(TodoList, models.CASCADE)
    title = models.CharField(max_length=200)
    done = models.BooleanField(default=False, db_default=False)

    class Meta:
        db_table = "todos"
