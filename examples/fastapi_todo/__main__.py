"""The todo app as one process. Needs syncline[all].

`python examples/fastapi_todo [PORT]`; with DATABASE_URL it uses that Postgres, else one of its own whose data are gone when it ends.
"""

import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

import uvicorn

from app import create_app
from syncline.embedded import EmbeddedPostgres
from syncline.service.embedding import UVICORN_OPTIONS

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 8000

signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn passes it on when it has stopped: as Ctrl-C
with contextlib.ExitStack() as stack:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    dsn = os.environ.get("DATABASE_URL") or stack.enter_context(EmbeddedPostgres()).dsn()
    app = create_app(dsn, url=f"http://127.0.0.1:{PORT}", storage=Path(folder) / "buckets")
    print(f"# http://127.0.0.1:{PORT}/docs", flush=True)
    uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning", **UVICORN_OPTIONS)
