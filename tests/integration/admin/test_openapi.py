"""What a generator makes of the OpenAPI document is answered as the document says, by a running service."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from syncline.testing.service_process import ServiceProcess, token
from tests.conformance.golden_http import ask
from tests.integration.admin.conftest import ADMIN, SYNC_CONFIG, Start

EXAMPLES_MAX = 10  # per operation and phase
FAILURES_MAX = 5
# Not: that what breaks the schemas is refused, and what keeps them accepted. Unknown fields and bodies that are no objects are ignored,
# as in the reference, and schemas cannot say what a sync config or an id may hold.
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def run_schemathesis(service: ServiceProcess, bearer: str, seed: int, *filters: str, operations: int) -> None:
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{service.base_url}/openapi.json",
        f"--header=Authorization: Bearer {bearer}",
        f"--checks={CHECKS}",
        f"--max-examples={EXAMPLES_MAX}",
        f"--max-failures={FAILURES_MAX}",
        f"--seed={seed}",
        "--phases=examples,coverage,fuzzing",
        "--request-timeout=30",
        "--warnings=off",
        "--suppress-health-check=all",
        *filters,
    ]
    environment = os.environ | {"NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}
    found = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, cwd=service.folder, env=environment
    )
    assert found.returncode == 0, f"{' '.join(command)}\n{found.stdout[-6000:]}{found.stderr[-2000:]}"
    assert f"Tested: {operations}\n" in found.stdout, found.stdout[-3000:]


def test_generated_requests_are_answered_as_the_document_says(start: Start) -> None:
    """Replay a failure with the seed that is printed."""
    seed = int(os.environ.get("SYNCLINE_SEED") or random.randrange(2**32))
    print(f"SYNCLINE_SEED={seed}")
    service = start(deployed=False, debug_api=True)
    headers = {"authorization": f"Bearer {ADMIN}", "content-type": "application/yaml"}
    assert ask(service.base_url, "POST", "/api/sync-rules/v1/deploy", body=SYNC_CONFIG, headers=headers).status == 200
    service.wait_ready()
    # A stream does not end: it has tests of its own.
    run_schemathesis(service, token("u1"), seed, "--include-tag=sync", "--exclude-path=/sync/stream", operations=3)
    tags = ("--include-tag=sync-rules", "--include-tag=admin", "--include-tag=probes")
    run_schemathesis(service, ADMIN, seed, *tags, operations=15)
    assert service.running
    assert "Traceback" not in service.log
