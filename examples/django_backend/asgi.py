"""The site, and the sync service beside it: `uvicorn --app-dir examples/django_backend asgi:application`."""

import os
from pathlib import Path

from django.core.asgi import get_asgi_application

from syncline.service.embedding import SyncService

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
site = get_asgi_application()
sync = SyncService(
    Path(__file__).parent / "service.yaml"
)  # after the settings, which put into the environment what it asks for
application = sync.beside(site, prefix="/sync-service")
