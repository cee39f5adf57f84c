"""The help of the commands about schemas, tokens and keys loads nothing that they need."""

from __future__ import annotations

import subprocess
import sys

COMMANDS = (
    "generate schema", "generate token", "token decode", "keys generate", "keys rotate", "keys list", "keys jwks", "migrate sync-rules",
)  # fmt: skip
CODE = f"""
import sys
sys.argv = ["syncline", "keys"]
from syncline.cli.main import main
for line in {COMMANDS!r}:
    sys.argv = ["syncline", *line.split(), "--help"]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, line
print("LOADED", *sorted(sys.modules))
"""


def test_help_loads_nothing_that_a_command_needs() -> None:
    shown = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout
    text, _, modules = shown.partition("LOADED ")
    loaded = set(modules.split())
    for module in (
        "apsw",
        "asyncio",
        "cryptography",
        "jwt",
        "msgspec",
        "orjson",
        "psycopg",
        "pydantic",
        "rich",
        "yaml",
    ):
        assert module not in loaded
    assert not {
        name for name in loaded if name.startswith(("syncline.client", "syncline.service", "syncline.sync_config"))
    }
    assert text.count("Usage: ") == len(COMMANDS)
    assert "--check" in text
