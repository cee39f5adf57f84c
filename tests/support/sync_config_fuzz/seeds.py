"""What mutations begin with: configs and queries of every construct, by hand and from the recorded corpus."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from tests.conformance.corpus.cases import load_cases

__all__ = ["Seeds", "load_seeds"]

GOLDEN = Path(__file__).parents[2] / "fixtures/sync_config/golden-streams.yaml"

HAND_WRITTEN = (
    """\
# every key of a stream, and a global subquery
config:
  edition: 3
  timestamps_iso8601: true
  versioned_bucket_ids: true
  fixed_json_extract: true
  custom_postgres_types: false
  timestamp_max_precision: milliseconds
  storage_version: 2
with:
  mine: SELECT id, region FROM lists WHERE owner_id = auth.user_id()
  flags: >-
    SELECT list_id
    FROM members
    WHERE user_id = auth.user_id() AND role NOT IN ARRAY['guest', 'gone']
streams:
  todos:
    auto_subscribe: true
    priority: 1
    with:
      own: "SELECT id FROM lists WHERE owner_id = auth.user_id()"
    queries:
      - SELECT * FROM todos WHERE list_id IN own
      - SELECT c.id, c.body AS text FROM comments AS c WHERE c.list_id IN own AND c.hidden = 0
  flagged:
    accept_potentially_dangerous_queries: true
    query: |
      SELECT t.*, t.amount * 2 + 1 AS doubled, upper(t.name) || ' !' AS loud,
        CASE WHEN t.done IS TRUE THEN 'done' WHEN t.done IS NULL THEN NULL ELSE 'open' END AS state,
        CAST(t.amount AS text) AS amount_text, t.meta ->> '$.a.b' AS deep
      FROM todos t
      JOIN lists l ON t.list_id = l.id
      JOIN (SELECT list_id, user_id FROM members WHERE role != 'guest') AS m (l, u) ON m.l = l.id
      WHERE m.u = auth.user_id() AND (t.region = subscription.parameter('region') OR t.public = 1)
  "tags %":
    query: SELECT * FROM "ev_%" WHERE tags && auth.parameter('tags') AND "ev_%".table_suffix() = 'a'
""",
    """\
config: {edition: 3}
streams:
  elements: {query: "SELECT t.id FROM todos t, json_each(t.tags) AS j WHERE j.value = connection.parameter('tag')"}
  given: {auto_subscribe: true, query: "SELECT * FROM lists WHERE id IN auth.parameter('$.nested.lists')"}
  between: {query: SELECT id FROM lists WHERE amount BETWEEN 1 AND 10. OR amount NOT BETWEEN -5 AND +7 AND id = auth.user_id()}
  exists: {query: 'SELECT * FROM "acme%".lists WHERE auth.user_id() IN (SELECT id FROM admins) AND lists.schema() = ''x'''}
  odd: {query: 'SELECT id, E''\\\\x41'' AS e, .5 AS h, 5. AS f, "Quoted ""Name""s" FROM lists -- comment'}
""",
    """\
bucket_definitions:
  global:
    data:
      - SELECT * FROM cats
      - SELECT _id AS id, name, upper(name) AS loud FROM "Categories" AS categories WHERE archived = 0
  by_list:
    accept_potentially_dangerous_queries: true
    parameters:
      - SELECT id AS list_id, 2 AS _priority FROM lists WHERE owner_id = request.user_id() AND deleted IS NULL
      - SELECT list_id FROM members WHERE user_id = token_parameters.user_id OR user_id = token_parameters.user_id
    data:
      - SELECT * FROM todos WHERE todos.list_id = bucket.list_id
      - SELECT id, name FROM notes WHERE bucket.list_id IN notes.list_ids AND done IS NOT NULL
  each:
    parameters: SELECT value AS pid FROM json_each(request.jwt() -> 'ids') WHERE request.parameters() ->> 'on' = 1
    data: ['SELECT id, * FROM projects WHERE id = bucket.pid']
  gate:
    parameters: SELECT FROM users WHERE users.id = request.user_id() AND users.is_admin
    data: ['SELECT id, _table_suffix AS suffix FROM "log_%"']
event_definitions:
  write_checkpoints:
    payloads:
      - SELECT user_id, client_id, checkpoint FROM checkpoints
""",
    """\
config:
  edition: 2
bucket_definitions:
  b:
    parameters: SELECT request.user_id() AS u, request.jwt() ->> 'org' AS org WHERE request.parameter('k') IS NOT NULL
    data:
      - SELECT * FROM lists WHERE owner_id = bucket.u AND org = bucket.org
    priority: 0
""",
)


@dataclass(frozen=True, slots=True)
class Seeds:
    """Whole documents, good ones and bad ones, and the queries in the good ones: of streams, of bucket definitions and events.

    `as_json` are good ones as JSON, which is YAML too, each with the queries in it.
    """

    good: tuple[str, ...]
    bad: tuple[str, ...]
    stream_queries: tuple[str, ...]
    legacy_queries: tuple[str, ...]
    as_json: tuple[tuple[str, tuple[str, ...]], ...]


@cache
def load_seeds() -> Seeds:
    """All seeds, always in the same order."""
    good = [*HAND_WRITTEN, GOLDEN.read_text(), *(case.config for case in load_cases() if case.expect["valid"])]
    bad = [case.config for case in load_cases() if not case.expect["valid"]]
    stream: dict[str, None] = {}
    legacy: dict[str, None] = {}
    as_json: list[tuple[str, tuple[str, ...]]] = []
    for document in good:
        root: dict[str, Any] = yaml.load(document, Loader=yaml.BaseLoader)  # also reads tags
        for key, part in root.items():
            found = legacy if key in ("bucket_definitions", "event_definitions") else stream
            found.update(dict.fromkeys(_queries(part)))
        if queries := tuple(query for part in root.values() for query in _queries(part)):
            as_json.append((_json(document), queries))
    return Seeds(tuple(dict.fromkeys(good)), tuple(dict.fromkeys(bad)), tuple(stream), tuple(legacy), tuple(as_json))


def _json(document: str) -> str:
    """The document as JSON; texts for what YAML would have as numbers, but where it has them in a config."""
    root = yaml.load(document, Loader=yaml.BaseLoader)
    return re.sub(r'": "(\d|true|false)"', r'": \1', json.dumps(root, ensure_ascii=False))


def _queries(part: Any) -> list[str]:
    if isinstance(part, str):
        return [part] if part.lstrip()[:6].lower() == "select" else []
    if isinstance(part, dict):
        return _queries(list(cast("dict[str, Any]", part).values()))
    return [query for item in cast("list[Any]", part) for query in _queries(item)] if isinstance(part, list) else []
