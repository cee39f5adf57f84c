"""Todos in a window. Needs syncline[qt].

`python examples/pyside [FILE]`; a second window with another file is a second device.
"""

import os
import sys

from PySide6.QtWidgets import QApplication

from syncline.client import HttpConnector
from syncline.client.blocking import SyncDatabase
from todo_window import SCHEMA, TodoWindow

application = QApplication(sys.argv)
with SyncDatabase(sys.argv[1] if len(sys.argv) > 1 else "todos.db", schema=SCHEMA) as db:
    window = TodoWindow(db, HttpConnector(os.environ["BACKEND_URL"], user_id=os.environ["USER_ID"]))
    window.show()
    application.exec()
    window.close()
