"""The texts of a stack: compose files, scripts of databases, variables with their secrets. Tree: command line reference, 2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncline import __version__

__all__ = ["CHOICES", "IMAGES", "StackChoice", "service_sections", "stack_files"]

CHOICES = ("postgres", "external", "none")
IMAGES = ("ours", "official")
OFFICIAL_IMAGE = "journeyapps/powersync-service:latest"
SQLITE_FOLDER = "/var/lib/syncline/storage"  # in the container, a volume
DATABASE, STORAGE = "pg-db", "pg-storage"  # names of the containers


@dataclass(frozen=True, slots=True)
class StackChoice:
    """What a stack is made of.

    `database` and `storage`: postgres (a container), external (a variable names it), none (service.yaml says it; for storage: SQLite).
    """

    database: str = "postgres"
    storage: str = "none"
    image: str = "ours"


def stack_files(choice: StackChoice, secrets: Mapping[str, str]) -> dict[str, str]:
    """The texts of all files by their paths below the folder `docker`. `secrets`: database, storage, token and key."""
    files = {"docker-compose.yaml": _compose(choice), ".env": _environment(choice, secrets)}
    if choice.database == "postgres":
        folder = "modules/database-postgres"
        files[f"{folder}/postgres.database.compose.yaml"] = _postgres_module(DATABASE, "DATABASE", "wal_level=logical")
        files[f"{folder}/init-scripts/.gitkeep"] = ""
        files[f"{folder}/init-scripts/01-powersync-publication.sql"] = (
            "-- Run once, when the volume is empty. Add your tables here, or make them by your own migrations.\n"
            "CREATE PUBLICATION powersync FOR ALL TABLES;\n"
        )
    if choice.storage == "postgres":
        folder = "modules/storage-postgres"
        files[f"{folder}/postgres.storage.compose.yaml"] = _postgres_module(STORAGE, "STORAGE", "wal_level=replica")
        files[f"{folder}/init-scripts/01-storage-db.sql"] = (
            "-- Run once, when the volume is empty. Buckets are compared byte by byte: the encoding must be UTF8.\n"
            "CREATE DATABASE powersync_storage ENCODING 'UTF8' TEMPLATE template0;\n"
        )
    return files


def service_sections(choice: StackChoice) -> dict[str, str]:
    """Sections of service.yaml that the stack needs, by their keys; what is not here stays as it is."""
    sections = {"port": "port: 8080 # in the container; PS_PORT of docker/.env is the one outside\n"}
    if choice.database != "none":
        mode = "disable # the network of the stack is its own" if choice.database == "postgres" else "verify-full"
        sections["replication"] = (
            "replication:\n  connections:\n    - type: postgresql\n      uri: !env PS_DATA_SOURCE_URI\n"
            f"      sslmode: {mode}\n"
        )
    if choice.storage != "none":
        mode = "disable" if choice.storage == "postgres" else "verify-full"
        sections["storage"] = f"storage:\n  type: postgresql\n  uri: !env PS_STORAGE_SOURCE_URI\n  sslmode: {mode}\n"
    elif choice.image == "ours":
        sections["storage"] = f"storage:\n  type: sqlite\n  path: {SQLITE_FOLDER} # a volume of the stack\n"
    return sections


def _compose(choice: StackChoice) -> str:
    modules = [
        f"  - path: modules/{kind}-postgres/postgres.{kind}.compose.yaml\n"
        for kind, chosen in (("database", choice.database), ("storage", choice.storage))
        if chosen == "postgres"
    ]
    waits = [name for name, chosen in ((DATABASE, choice.database), (STORAGE, choice.storage)) if chosen == "postgres"]
    depends = "".join(f"      {name}:\n        condition: service_healthy\n" for name in waits)
    include = f"include:\n{''.join(modules)}\n" if modules else ""
    image = _official_image() if choice.image == "official" else _own_image()
    return f"""\
# Written by `syncline docker configure`. Start it with: syncline docker start
{include}services:
  powersync:
{image}    command: [start, -r, unified]
    env_file: .env
    environment:
      POWERSYNC_CONFIG_PATH: /config/service.yaml
    volumes:
      - ../service.yaml:/config/service.yaml:ro
      - ../sync-config.yaml:/config/sync-config.yaml:ro
{f"      - buckets:{SQLITE_FOLDER}{chr(10)}" if _has_volume(choice) else ""}    ports:
      - 127.0.0.1:${{PS_PORT:-8080}}:8080
{f"    depends_on:{chr(10)}{depends}" if depends else ""}    restart: unless-stopped
{f"{chr(10)}volumes:{chr(10)}  buckets:{chr(10)}" if _has_volume(choice) else ""}"""


def _has_volume(choice: StackChoice) -> bool:
    return choice.image == "ours" and choice.storage == "none"


def _own_image() -> str:
    """Built from the package: no registry has to hold it."""
    return f"""\
    build:
      dockerfile_inline: |
        FROM python:3.13-slim
        RUN pip install --no-cache-dir "syncline[service]=={__version__}"
        RUN useradd --uid 901 --create-home syncline && install -d -o syncline {SQLITE_FOLDER}
        USER syncline
        ENV SYNCLINE_HOST=0.0.0.0 PYTHONUNBUFFERED=1
        WORKDIR /home/syncline
        ENTRYPOINT ["syncline"]
    healthcheck:
      test: [CMD, python, -c, "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/probes/liveness')"]
      interval: 5s
      timeout: 5s
      retries: 30
"""


def _official_image() -> str:
    return f"""\
    image: {OFFICIAL_IMAGE}
    healthcheck:
      test: [CMD, node, -e, "fetch('http://localhost:8080/probes/liveness').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
      interval: 5s
      timeout: 5s
      retries: 30
"""


def _postgres_module(name: str, prefix: str, setting: str) -> str:
    return f"""\
services:
  {name}:
    image: postgres:18
    command: [postgres, -c, {setting}]
    environment:
      POSTGRES_DB: ${{PS_{prefix}_NAME}}
      POSTGRES_USER: ${{PS_{prefix}_USER}}
      POSTGRES_PASSWORD: ${{PS_{prefix}_PASSWORD}}
    volumes:
      - {name}-data:/var/lib/postgresql
      - ./init-scripts:/docker-entrypoint-initdb.d:ro
    ports:
      - 127.0.0.1:${{PS_{prefix}_PORT}}:5432
    healthcheck:
      test: [CMD-SHELL, "pg_isready -h 127.0.0.1 -U $$POSTGRES_USER -d $$POSTGRES_DB"]
      interval: 2s
      timeout: 5s
      retries: 30

volumes:
  {name}-data:
"""


def _environment(choice: StackChoice, secrets: Mapping[str, str]) -> str:
    lines = [
        "# Variables of the stack, for this machine alone: keep the file out of version control.",
        "PS_PORT=8080",
        f"PS_ADMIN_TOKEN={secrets['token']}",
        f"PS_JWT_KEY={secrets['key']}",
    ]
    if choice.database == "postgres":
        lines += _postgres_variables("DATABASE", "app", 5432, secrets["database"])
        lines.append(f"PS_DATA_SOURCE_URI=postgresql://postgres:{secrets['database']}@{DATABASE}:5432/app")
    elif choice.database == "external":
        lines += ["# The source: postgresql://user:password@host:5432/database", "PS_DATA_SOURCE_URI="]
    if choice.storage == "postgres":
        lines += _postgres_variables("STORAGE", "postgres", 5433, secrets["storage"])
        address = f"postgres:{secrets['storage']}@{STORAGE}:5432/powersync_storage"
        lines.append(f"PS_STORAGE_SOURCE_URI=postgresql://{address}")
    elif choice.storage == "external":
        lines += ["# Bucket storage: postgresql://user:password@host:5432/database", "PS_STORAGE_SOURCE_URI="]
    return "\n".join(lines) + "\n"


def _postgres_variables(prefix: str, database: str, port: int, password: str) -> list[str]:
    return [
        f"PS_{prefix}_NAME={database}",
        f"PS_{prefix}_USER=postgres",
        f"PS_{prefix}_PASSWORD={password}",
        f"PS_{prefix}_PORT={port}",
    ]
