"""The reference leaves nothing out: each environment variable, metric and public name of the backend is on its page."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path

import pytest
from tools.backend_docs import MODULES
from tools.environment_docs import NO_VARIABLES, VARIABLES, variables_read

REFERENCE = Path(__file__).parents[2] / "docs/reference"
DOCUMENTED = [name for variables in VARIABLES.values() for name in variables]


@pytest.mark.requirement(215)
def test_every_environment_variable_that_is_read_is_documented_and_no_other() -> None:
    read = variables_read()
    assert {name: places for name, places in read.items() if name not in DOCUMENTED} == {}
    assert [name for name in DOCUMENTED if name not in read] == []
    assert [name for name, times in Counter(DOCUMENTED).items() if times > 1] == []
    assert NO_VARIABLES.isdisjoint(DOCUMENTED)


def test_a_variable_is_found_in_whatever_way_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "reads.py").write_text(
        'import os\nA = os.environ["HOME_ONE"]\nB = os.environ.get("HOME_TWO", "")\nC = os.getenv("HOME_THREE")\n'
        'D = "SYNCLINE_FOUR"\nE = option("--x", envvar="FIVE")\nos.environ["SET_ONLY"] = "1"\n'
    )
    (tmp_path / "speaks_of_something_else.py").write_text('A = colours["RED"]\nB = "PS_SIX"\nC = "PS_"\n')
    found = {"HOME_ONE", "HOME_TWO", "HOME_THREE", "SYNCLINE_FOUR", "FIVE", "PS_SIX"}
    assert set(variables_read(tmp_path)) == found


def test_every_public_name_of_the_backend_is_on_its_page() -> None:
    page = (REFERENCE / "backend.md").read_text("utf-8")
    modules = [name for names in MODULES.values() for name in names]
    public = {name for module in modules for name in importlib.import_module(module).__all__}
    assert {name for name in public if not name.isupper() and f"### `{name}`\n" not in page} == set()


def test_no_page_holds_what_the_machine_s_environment_does() -> None:
    texts = [path.read_text("utf-8") for path in REFERENCE.iterdir()]
    assert [text[:80] for text in texts if "environ({" in text] == []


def test_every_metric_is_counted_in_the_code_under_its_name() -> None:
    """The page is made by asking the metrics themselves; this holds it to names that others' dashboards use."""
    page = (REFERENCE / "metrics.md").read_text("utf-8")
    for name in ("powersync_replication_lag_seconds", "powersync_concurrent_connections", "syncline_backend_requests"):
        assert f"| `{name}` |" in page
    assert "| `syncline_backend_transactions` | counter | `status`, `code` |" in page
