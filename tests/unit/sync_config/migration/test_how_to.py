"""The page about migrating shows what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from syncline.sync_config.migration import migrate_to_streams

PAGE = (Path(__file__).parents[4] / "docs/howto/migrate-sync-rules.md").read_text("utf-8")


def test_the_example_of_the_page_is_what_comes_out() -> None:
    before, after = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (notes,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    migration = migrate_to_streams(before)
    assert migration.text == after
    assert "".join(f"{note}\n" for note in migration.notes) == notes
