"""The tables, and the publication that the sync service reads."""

import uuid
from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies: ClassVar = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]
    operations: ClassVar = [
        migrations.CreateModel(
            name="TodoList",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=200)),
                ("owner", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={"db_table": "lists"},
        ),
        migrations.CreateModel(
            name="Todo",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("title", models.CharField(max_length=200)),
                ("done", models.BooleanField(db_default=False, default=False)),
                ("list", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="todos.todolist")),
            ],
            options={"db_table": "todos"},
        ),
        migrations.RunSQL(
            "CREATE PUBLICATION powersync FOR TABLE lists, todos",
            "DROP PUBLICATION powersync",
        ),
    ]
