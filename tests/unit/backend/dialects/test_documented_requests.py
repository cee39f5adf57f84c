"""The requests of docs/reference/write-api.md, section 9, get the answers that stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.backend.asgi import ask, bearer, make_app

PAGE = Path(__file__).parents[4] / "docs/reference/write-api.md"
SECTION = PAGE.read_text("utf-8").split("## 9. Dialects")[1].split("\n## ")[0]
EXAMPLES = re.findall(r"```http\n(.*?)```", SECTION, re.DOTALL)


def test_each_dialect_has_an_example() -> None:
    assert len(EXAMPLES) >= 7


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.partition("\n")[0])
async def test_a_documented_request_gets_its_answer(example: str) -> None:
    request, answer = example.strip().split("\n\n")
    line, _, body = request.partition("\n")
    method, path = line.split()
    status, _, told = answer.partition("\n")
    found = await ask(make_app(), method, path, headers=bearer("ann"), body=body.encode())
    assert (found.status, json.loads(found.body or "null")) == (int(status), json.loads(told or "null"))
