"""What the dashboard shows: kept errors, sizes of buckets, and colours that can be read."""

from __future__ import annotations

import json
import logging
import re
from types import SimpleNamespace
from typing import Any

import pytest

from syncline.api.dashboard.clients import Clients
from syncline.api.dashboard.limits import (
    CLIENTS_SHOWN_MAX,
    ERROR_CHARACTERS_MAX,
    ERRORS_KEPT,
)
from syncline.api.dashboard.pages import page_files
from syncline.api.dashboard.recent_errors import RecentErrors
from syncline.storage.bucket_sizes import LARGEST_BUCKETS, largest_of, sizes_of
from syncline.sync.checkpoint_watcher import Inbox


def test_the_newest_errors_are_kept_within_bounds_and_cleared() -> None:
    errors = RecentErrors(lambda text: text.replace("secret", "***"))
    log = logging.Logger("of this test")
    log.addHandler(errors)
    log.info("not kept")
    for n in range(ERRORS_KEPT):
        log.warning("number %d", n)
    log.error("with a secret %s", "x" * ERROR_CHARACTERS_MAX, extra={"event": "a.b", "user_id": "u1"})
    try:
        raise ValueError("the secret cause")
    except ValueError:
        log.exception("failed")
    newest = errors.newest()
    assert len(newest) == ERRORS_KEPT
    assert (newest[0]["level"], newest[0]["message"]) == ("error", "failed: ValueError('the *** cause')")
    assert newest[1]["message"].startswith("with a *** xxx")
    assert len(newest[1]["message"]) == ERROR_CHARACTERS_MAX
    assert newest[1]["event"] == "a.b"
    assert "u1" not in json.dumps(newest)
    assert newest[-1]["message"] == "number 2"


def test_sizes_are_counted_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at_max = 100
    monkeypatch.setattr("syncline.storage.bucket_sizes.BUCKETS_LOOKED_AT_MAX", looked_at_max)
    buckets = [(n, f'7#{"lists" if n % 2 else "todos"}|0["{n}"]', n) for n in range(looked_at_max + 1)]
    largest = largest_of(buckets)
    assert [size for _, _, size in largest] == list(range(looked_at_max - 1, -1, -1))[:LARGEST_BUCKETS]
    sizes = sizes_of(buckets, [("7#lists|0[]", 1000, 200, 4000), ("7#empty|0[]", 0, 0, 0)])
    assert sizes.is_cut
    assert sizes.bucket_count == looked_at_max
    assert sizes.streams["lists"][0] == looked_at_max // 2
    assert [one.estimated_bytes for one in sizes.largest] == [20_000, 0]
    assert sizes_of([(1, "7#by_user[]", 3)], []).streams == {"by_user": (1, 3)}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_texts_stand_out_from_their_ground_in_both_themes() -> None:
    css = page_files()["/dashboard/style.css"].body.decode()
    themes = [dict(re.findall(r"--(\w+): (#\w{6})", part)) for part in re.findall(r":root \{(.*?)\}", css, re.DOTALL)]
    assert len(themes) == 2
    for theme in themes:
        for ground in (theme["back"], theme["panel"]):
            for name in ("text", "faint", "accent", "good", "bad", "warn"):
                light, dark = sorted((luminance(theme[name]), luminance(ground)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, theme[name], ground)


async def test_clients_are_listed_up_to_a_limit_each_with_its_buckets() -> None:
    stream = {"user_id": "u1", "client_id": "c1", "connected_at": "2026-01-01T00:00:00.000Z"}
    nameless = stream | {"client_id": ""}

    class Known:
        async def connections(self, _: dict[str, Any]) -> dict[str, Any]:
            ended = {"disconnected_at": "2026-01-01T00:00:00.000Z"}
            days = [stream | {"disconnected_at": None}] * (CLIENTS_SHOWN_MAX + 1)
            return {"open": [stream, nameless] + [stream] * CLIENTS_SHOWN_MAX, "days": [ended, *days]}

    watcher: Any = SimpleNamespace(inboxes=lambda: [Inbox("u1/c1", buckets=frozenset(["a", "b"])), Inbox("u1")])
    known: Any = Known()
    found = await Clients(known, watcher)()
    assert [one["buckets"] for one in found["here"][:2]] == [2, 0]
    assert len(found["here"]) == len(found["reported"]) == CLIENTS_SHOWN_MAX
