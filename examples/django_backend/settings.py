"""All settings of the project. DATABASE_URL names its Postgres; everything else is for development."""

import os
import secrets
from pathlib import Path
from urllib.parse import unquote, urlsplit

_database = urlsplit(os.environ["DATABASE_URL"])

DEBUG = False
SECRET_KEY = os.environ.get("SECRET_KEY") or secrets.token_urlsafe(48)
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "urls"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "todos"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.path.lstrip("/"),
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "HOST": _database.hostname,
        "PORT": _database.port or 5432,
    }
}

# -- for sync

os.environ.setdefault("PS_STORAGE", str(Path(__file__).parent / "buckets.db"))
SITE_URL = os.environ.get("SITE_URL", "http://127.0.0.1:8000")  # where devices reach this site
SYNC_SECRET = os.environ.setdefault("PS_TOKEN_SECRET", secrets.token_urlsafe(32))  # signs tokens, and checks them
SYNC_DSN = os.environ.setdefault("PS_DATABASE_URI", os.environ["DATABASE_URL"])
