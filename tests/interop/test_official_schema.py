"""The official CLI and ours generate the same schema, beyond what was recorded: kinds of expressions, of parameters, and names.

A small server answers as the admin API's `schema` does, and both are given its answer. Where ours deliberately writes something else
(docs/compatibility.md), the config here has nothing of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncline.cli.schema_generation.outputs import SchemaOutput
from syncline.cli.schema_generation.source_columns import SourceColumns
from syncline.cli.schema_generation.tables import client_tables
from syncline.cli.schema_generation.writers import written
from tests.support.official_packages import install_official_packages, node_program

CLI_SECONDS_MAX = 60
OUTPUTS = list(SchemaOutput)[:8] if os.environ.get("SYNCLINE_SOAK") else [SchemaOutput.TS, SchemaOutput.KOTLIN]
FLAGS = {"text": 2, "uuid": 2, "int4": 4, "bool": 4, "float8": 8, "bytea": 1, "jsonb": 2, "numeric": 2}
TABLES = {
    "t": "id text, i int4, r float8, s text, b bytea, j jsonb, n numeric",
    "u": "id uuid, i text, t_id text, flag bool",
    "w_1": "id text, v int4",
    "w_2": "id text, v text, w int4",
}
EXPRESSIONS = (
    "i + 1", "i + r", "r * 2", "i / 2", "n + 1", "s + 1", "s || i", "i = 1", "i < 1", "i IS NULL", "i BETWEEN 1 AND 2", "NOT i", "i OR r",
    "cast(s AS integer)", "cast(s AS real)", "cast(i AS text)", "cast(i AS blob)", "cast(i AS numeric)", "ifnull(i, s)", "ifnull(i, r)",
    "CASE WHEN i THEN i ELSE r END", "CASE i WHEN 1 THEN s END", "NULL", "'x'", "1", "1.5", "TRUE", "b", "base64(b)", "datetime(s)",
    "hex(b)", "instr(s, 'a')", "json_array_length(j)", "json_extract(j, '$.a')", "json_keys(j)", "length(s)", "lower(s)", "st_x(b)",
    "st_asgeojson(b)", "substring(s, 1)", "typeof(s)", "unixepoch(s)", "uuid_blob(s)",
)  # fmt: skip
CONDITIONS = (
    "subscription.parameter('x') IS NOT NULL", "i = subscription.parameter('p')", "r = subscription.parameter('p')",
    "s = subscription.parameter('p')", "b = subscription.parameter('p')", "i = cast(subscription.parameter('p') AS integer)",
    "s = upper(subscription.parameter('p'))", "i = subscription.parameter('p') AND s = subscription.parameter('p')",
    "i = subscription.parameter('p') OR r = subscription.parameter('p')", "i IN subscription.parameter('ids')",
    "s IN (SELECT value FROM json_each(subscription.parameter('ids')))", "subscription.parameter('p') = auth.user_id()",
    "id IN (SELECT t_id FROM u WHERE flag = subscription.parameter('p'))", "s = subscription.parameters() ->> 'q'",
    "length(s) = subscription.parameter('p')", "i + 1 = subscription.parameter('odd-name')", "subscription.parameter('p') IN j",
    "s = connection.parameter('p') AND id = auth.user_id()", "s = subscription.parameter('one') AND i = subscription.parameter('two_Of')",
)  # fmt: skip


def sync_config() -> str:
    queries = [f"SELECT id, {expression} AS x FROM t AS e{number}" for number, expression in enumerate(EXPRESSIONS)]
    merged = [
        "SELECT id, i AS v FROM t AS mg",
        "SELECT id, s AS v, r FROM t AS mg",
        "SELECT *, 'x' AS i FROM t AS late",
    ]
    tables = ['SELECT * FROM "w_%"', 'SELECT * FROM "w_%" AS ww', *merged]
    streams: dict[str, Any] = {
        f"kinds_{start}": {"auto_subscribe": True, "queries": queries[start : start + 20]}
        for start in range(0, len(queries), 20)
    }
    streams["tables"] = {"auto_subscribe": True, "queries": tables}
    streams |= {f"with-{n}_Two": {"query": f"SELECT * FROM t WHERE {where}"} for n, where in enumerate(CONDITIONS)}
    return yaml.safe_dump({"config": {"edition": 3}, "streams": streams}, sort_keys=False, width=1000)


def admin_schema() -> dict[str, Any]:
    tables = [
        {
            "name": name,
            "columns": [
                {"name": column, "sqlite_type": FLAGS[kind], "internal_type": kind, "type": kind, "pg_type": kind}
                for column, kind in (one.split() for one in columns.split(","))
            ],
        }
        for name, columns in TABLES.items()
    ]
    connection = {"id": "default", "tag": "default", "schemas": [{"name": "public", "tables": tables}]}
    return {"connections": [connection], "defaultConnectionTag": "default", "defaultSchema": "public"}


class _Admin(BaseHTTPRequestHandler):
    """Answers every POST with the schema."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.dumps({"data": admin_schema()}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Nothing: the tests' output is read by people."""


@pytest.fixture
def admin_url() -> Generator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Admin)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.requirement(199)
@pytest.mark.parametrize("output", OUTPUTS)
def test_both_command_lines_write_the_same(output: SchemaOutput, admin_url: str, tmp_path: Path) -> None:
    modules, node = install_official_packages(("powersync@0.10.0",)), node_program("node")
    project = tmp_path / "powersync"
    project.mkdir()
    (project / "cli.yaml").write_text(f"type: self-hosted\napi_url: {admin_url}\napi_key: x\n")
    source = "replication:\n  connections:\n    - type: postgresql\n      uri: postgresql://a:b@127.0.0.1/c\n"
    storage = "storage:\n  type: postgresql\n  uri: postgresql://a:b@127.0.0.1/c\n"
    (project / "service.yaml").write_text(f"_type: self-hosted\n{source}{storage}client_auth: {{}}\n")
    (project / "sync-config.yaml").write_text(sync_config())
    command = [node, modules / "powersync/bin/run.js", "generate", "schema", "--output", output, "--output-path", "out"]
    environment = os.environ | {"NO_COLOR": "1", "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=CLI_SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ours = client_tables(sync_config(), SourceColumns.of_admin_schema(admin_schema()))
    expected = written(ours, output).text
    theirs = (tmp_path / "out").read_text("utf-8")
    if output is SchemaOutput.DART:  # theirs has ",," between two parameters
        theirs = theirs.replace(",, ", ", ")
    if output is SchemaOutput.SWIFT:  # and no comma
        theirs = theirs.replace('(one)\n            "', '(one),\n            "')
    assert theirs == expected
