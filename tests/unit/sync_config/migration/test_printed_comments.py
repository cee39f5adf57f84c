"""Comments of sync rules are found again in the streams."""

from __future__ import annotations

from syncline.sync_config.migration import migrate_to_streams
from syncline.sync_config.migration.comments import sql_comments

TEXT = """\
# Of the whole document.
config:
  # Also of the document.
  edition: 2

bucket_definitions:
  # Above a.
  a:
    # Inside of a.
    data:
      - |
        SELECT id, '
        # no comment' AS x -- why this column
        FROM t /* and
        this table */
  # Above b.
  b:
    data: [SELECT id FROM t]  # not in a line of its own
# The end.
"""


def test_comments_stand_where_they_stood() -> None:
    text = migrate_to_streams(TEXT).text
    header, _, streams = text.partition("streams:\n")
    assert header.startswith("# Of the whole document.\n# Also of the document.\n# The end.\nconfig:\n")
    of_a, _, of_b = streams.partition("  # Above b.\n")
    assert of_a.startswith('  # Above a.\n  # Inside of a.\n  # From the bucket definition "a".\n  a:\n')
    assert "    # why this column\n    # and\n    # this table\n" in of_a
    assert of_b.startswith('  # From the bucket definition "b".\n  b:\n')
    assert text.count("no comment") == 1


def test_comments_of_sql_are_what_stands_between_its_words() -> None:
    assert sql_comments("SELECT '-- no' /* a */ FROM t -- b\n-- c\nWHERE \"--\" = 1") == ["a", "b", "c"]
    assert sql_comments("SELECT id FROM t") == []
