"""The demo's web page in a real browser: what a person does there, and what the page then shows. Pictures: build/demo-page/."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from syncline.cli.demo.actions import ACTIONS_BYTES_MAX
from syncline.cli.demo.board import PAGES_MAX
from syncline.cli.demo.npm_packages import cache_folder
from syncline.cli.demo.web_sdk import WEB_PACKAGES
from syncline.testing.waiting import eventually_sync
from tests.acceptance.demo_page import DEADLINE_S, DemoPage, DemoProcess, running_demo
from tests.support.browser import Browser
from tests.support.official_packages import install_official_packages

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "build/demo-page"
FIRST, SECOND, BOBS = "alice-phone", "alice-second-phone", "bob-phone"
PHONES = {FIRST: ["Getting Started"], SECOND: ["Getting Started"], BOBS: ["Home repairs"]}
AIRPLANE = "[data-part=airplane]"
ALICES_LIST = "Getting Started"
FIRST_LIST = "[data-list='11111111-0000-4000-8000-000000000001']"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Generator[DemoProcess]:
    with running_demo(tmp_path_factory.mktemp("demo") / "files", npm_cache=cache_folder("syncline-tests")) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with Browser(PICTURES) as running:
        yield running


@pytest.fixture(scope="module")
def opened(browser: Browser, demo: DemoProcess) -> DemoPage:
    browser.open("demo", demo.url)
    return DemoPage(browser, "demo")


@pytest.fixture
def page(opened: DemoPage) -> DemoPage:
    """The page with everything as at the start; each reset makes todos with new ids, by which it is known."""
    old = {id_ for key in PHONES for id_ in opened.until(key, lambda shown: shown.state, "the phones are there").ids}
    opened.browser.click(opened.tab, "#reset")
    for key, names in PHONES.items():
        opened.until(
            key,
            lambda shown, names=names: (
                shown.state == "synced"
                and shown.ids
                and old.isdisjoint(shown.ids)
                and list(shown.lists) == names
                and not shown.messages
                and not shown.queue
            ),
            "all is as at the start",
        )
    return opened


@pytest.mark.requirement(192, 212)
def test_a_row_that_one_phone_adds_is_on_the_other_in_postgres_and_not_with_bob(page: DemoPage) -> None:
    page.type(FIRST, "[data-form=add-list] input", "Groceries")
    page.until(SECOND, lambda shown: "Groceries" in shown.lists, "the second phone shows the list")
    postgres = page.until_postgres(
        lambda shown: "Groceries of Alice" in shown["lists"], "Postgres holds it, as Alice's"
    )
    assert set(postgres["lists"]) == {"Getting Started of Alice", "Groceries of Alice", "Home repairs of Bob"}
    # Bob writes: his phone has then heard of everything before.
    page.type(BOBS, "[data-form=add-todo] input", "Paint the door")
    bob = page.until(
        BOBS,
        lambda shown: shown.state == "synced" and "Paint the door" in shown.texts("Home repairs") and not shown.queue,
        "Bob's write is uploaded, and is back",
    )
    assert list(bob.lists) == ["Home repairs"]
    assert bob.synced.startswith("last synced ")
    page.browser.screenshot(page.tab, "synced")


def test_edits_in_airplane_mode_wait_in_the_queue_and_arrive_afterwards(page: DemoPage) -> None:
    page.click(FIRST, AIRPLANE)
    page.until(FIRST, lambda shown: shown.airplane and shown.state == "offline", "the phone is offline")
    page.type(FIRST, f"{FIRST_LIST} [data-form=add-todo] input", "Pack the tent")
    page.until(FIRST, lambda shown: len(shown.queue) == 1, "one write waits")
    page.click(FIRST, f"{FIRST_LIST} li:first-child [type=checkbox]")
    page.until(FIRST, lambda shown: len(shown.queue) == 2, "two writes wait")
    page.type(FIRST, "[data-form=add-list] input", "Written on a plane")
    offline = page.until(FIRST, lambda shown: len(shown.queue) == 3, "three writes wait")
    assert offline.queue_title == "Upload queue: 3 writes wait"
    assert [line.split()[:2] for line in offline.queue] == [["PUT", "todos"], ["PATCH", "todos"], ["PUT", "lists"]]
    assert offline.lists[ALICES_LIST] == [
        ["Run the demo", True],
        ["Write a first row", False],
        ["Pack the tent", False],
    ]
    assert list(page.postgres()["lists"]) == ["Getting Started of Alice", "Home repairs of Bob"]
    assert page.postgres()["lists"]["Getting Started of Alice"] == ["☐ Run the demo", "☐ Write a first row"]
    page.browser.screenshot(page.tab, "airplane")
    page.click(FIRST, AIRPLANE)
    online = page.until(FIRST, lambda shown: shown.state == "synced" and not shown.queue, "the queue is empty")
    assert online.queue_title == "Upload queue: 0 writes wait"
    second = page.until(
        SECOND,
        lambda shown: "Written on a plane" in shown.lists and ["Run the demo", True] in shown.lists[ALICES_LIST],
        "the second phone has all of it",
    )
    assert second.lists == page.until(FIRST, lambda shown: shown.lists == second.lists, "both are the same").lists
    lines = page.until_postgres(lambda shown: "Written on a plane of Alice" in shown["lists"], "Postgres has the list")
    assert lines["lists"]["Getting Started of Alice"] == ["☑ Run the demo", "☐ Write a first row", "☐ Pack the tent"]


@pytest.mark.parametrize("choice", ["use-mine", "keep-theirs"])
def test_a_conflict_is_shown_on_both_phones_and_settled_on_one(page: DemoPage, choice: str) -> None:
    page.browser.click(page.tab, "#make-conflict")
    mine, theirs = "Run the demo (says the second phone)", "Run the demo (says the first phone)"
    for key, text in ((FIRST, theirs), (SECOND, mine)):
        page.until(
            key,
            lambda shown, text=text: (
                shown.state == "offline" and text in shown.texts(ALICES_LIST) and len(shown.queue) == 1
            ),
            "each phone has a text of its own",
        )
    page.click(FIRST, AIRPLANE)
    page.until(FIRST, lambda shown: shown.state == "synced" and not shown.queue, "the first phone was faster")
    page.click(SECOND, AIRPLANE)
    for key in (FIRST, SECOND):
        shown = page.until(
            key, lambda shown: shown.messages and theirs in shown.texts(ALICES_LIST), "the conflict is shown"
        )
        [(kind, text)] = shown.messages
        assert kind == "conflict"
        assert f"Postgres has “{theirs}”; the other text was “{mine}”." in text
    page.browser.screenshot(page.tab, "conflict")
    chosen = mine if choice == "use-mine" else theirs
    page.click(FIRST, f"[data-action={choice}]")
    for key in (FIRST, SECOND):
        page.until(
            key,
            lambda shown: shown.state == "synced" and not shown.messages and chosen in shown.texts(ALICES_LIST),
            "the chosen text is everywhere, and nobody is asked any more",
        )
    page.until_postgres(
        lambda shown: f"☐ {chosen}" in shown["lists"]["Getting Started of Alice"], "Postgres has the chosen text"
    )


def test_a_todo_is_rewritten_in_place_and_rows_are_deleted_everywhere(page: DemoPage) -> None:
    page.type(FIRST, f"{FIRST_LIST} li:first-child .text", "Run it twice")
    page.until(SECOND, lambda shown: "Run it twice" in shown.texts(ALICES_LIST), "the new text is on the second phone")
    page.click(SECOND, f"{FIRST_LIST} li:last-child .quiet")
    page.until(FIRST, lambda shown: shown.texts(ALICES_LIST) == ["Run it twice"], "the todo is gone on the first phone")
    page.click(BOBS, "[data-action=delete-list]")
    lists = page.until_postgres(lambda shown: len(shown["lists"]) == 1, "Bob's list is gone")["lists"]
    assert lists == {"Getting Started of Alice": ["☐ Run it twice"]}


@pytest.mark.requirement(147)
def test_a_rejected_write_comes_back_with_its_reason_and_can_be_dismissed(page: DemoPage) -> None:
    page.click(FIRST, AIRPLANE)
    page.click(FIRST, "summary")
    page.click(FIRST, "[data-action=break_check]")
    offline = page.until(FIRST, lambda shown: len(shown.queue) == 1, "the write waits")
    assert [name[:12] for name in offline.lists] == [ALICES_LIST[:12], "This name is"]
    page.click(FIRST, AIRPLANE)
    back = page.until(
        FIRST,
        lambda shown: shown.messages and list(shown.lists) == [ALICES_LIST],
        "the row is gone, the reason is there",
    )
    [(kind, text)] = back.messages
    assert (kind, "CHECK_VIOLATION" in text, "(PUT lists)" in text) == ("rejection", True, True)
    page.until(SECOND, lambda shown: shown.messages == back.messages, "the user's other phone hears of it too")
    postgres = page.until_postgres(lambda shown: shown["letters"], "the backend has kept it")
    assert "CHECK_VIOLATION" in postgres["letters"][0]
    assert "Alice: PUT lists." in postgres["letters"][0]
    page.browser.screenshot(page.tab, "rejection")
    page.click(SECOND, "[data-action=dismiss]")
    for key in (FIRST, SECOND):
        page.until(key, lambda shown: not shown.messages and not shown.queue, "it is dismissed on both")
    page.browser.click(page.tab, "[data-letter] [data-action=retry]")
    page.browser.click(page.tab, "#notice:has-text('Refused again')")
    page.browser.click(page.tab, "[data-letter] [data-action=discard]")
    page.until_postgres(lambda shown: not shown["letters"], "the letter is discarded")


def test_a_write_into_somebody_elses_list_is_refused_by_the_policy(page: DemoPage) -> None:
    page.click(BOBS, "summary")
    page.click(BOBS, "[data-action=break_policy]")
    bob = page.until(BOBS, lambda shown: shown.messages and list(shown.lists) == ["Home repairs"], "it has come back")
    assert "UNAUTHORIZED" in bob.messages[0][1]
    assert page.until(FIRST, lambda shown: shown.state == "synced", "Alice hears nothing of it").messages == []
    # A retry that is refused again is answered with 400, which a console calls an error; nothing else went wrong in any test.
    assert [error for error in page.browser.errors(page.tab) if "status of 400" not in error] == []


def test_the_second_tab_runs_the_official_web_sdk_over_the_same_service(page: DemoPage, demo: DemoProcess) -> None:
    install_official_packages(WEB_PACKAGES)  # skips, with the reason, where the registry cannot be reached
    page.browser.open("sdk", f"{demo.url}/web-sdk")
    sdk = DemoPage(page.browser, "sdk")
    shown = sdk.until("web-sdk", lambda shown: shown.state == "synced" and shown.lists, "the SDK has synced")
    assert (shown.name, list(shown.lists)) == ("Alice's browser", [ALICES_LIST])
    sdk.type("web-sdk", f"{FIRST_LIST} [data-form=add-todo] input", "From the browser")
    page.until(FIRST, lambda shown: "From the browser" in shown.texts(ALICES_LIST), "a Python client has its row")
    page.type(FIRST, f"{FIRST_LIST} [data-form=add-todo] input", "From the phone")
    sdk.until("web-sdk", lambda shown: "From the phone" in shown.texts(ALICES_LIST), "and the other way round")
    sdk.click("web-sdk", AIRPLANE)
    sdk.until("web-sdk", lambda shown: shown.airplane and shown.state == "offline", "the browser is offline")
    sdk.click("web-sdk", "summary")
    sdk.click("web-sdk", "[data-action=break_check]")
    sdk.until("web-sdk", lambda shown: len(shown.queue) == 1, "its write waits")
    sdk.click("web-sdk", AIRPLANE)
    shown = sdk.until("web-sdk", lambda shown: shown.messages and not shown.queue, "the rejection has come back")
    assert "CHECK_VIOLATION" in shown.messages[0][1]
    sdk.browser.screenshot("sdk", "web-sdk")
    assert sdk.browser.errors("sdk") == []


def test_the_second_tab_says_what_is_missing(browser: Browser, demo: DemoProcess) -> None:
    """What the files are is told by the server (unit tests); here, that the tab shows it."""
    told = "Node and npm are not there: install Node 20 or newer"
    state = json.dumps({"web_sdk": {"state": "failed", "message": told}})
    browser.open("missing", f"{demo.url}/web-sdk", events={"/state": f"data: {state}\n\n"})
    notice = "() => document.getElementById('notice').textContent"
    eventually_sync(lambda: told in browser.evaluate("missing", notice), timeout_s=DEADLINE_S, what="the tab says it")
    browser.screenshot("missing", "web-sdk-missing")


def test_only_so_many_pages_are_followed_and_those_that_are_closed_make_room(demo: DemoProcess) -> None:
    refusals: list[tuple[int, str]] = []

    def opened() -> Any:
        try:
            return urllib.request.urlopen(f"{demo.url}/state", timeout=30)
        except urllib.error.HTTPError as refused:
            with refused:
                refusals.append((refused.code, refused.read().decode()))
            return None

    with contextlib.ExitStack() as streams:
        followed = 0
        while (stream := opened()) is not None:
            streams.enter_context(stream)
            assert stream.readline().startswith(b"data: {")
            followed += 1
        assert 0 < followed <= PAGES_MAX  # tabs of other tests may be open
        [(status, told)] = refusals
        assert (status, f"{PAGES_MAX} pages are open" in told) == (503, True)
    with eventually_sync(opened, timeout_s=DEADLINE_S, what="there is room again") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize(
    ("headers", "body", "status", "told"),
    [
        ({"origin": "http://evil.example"}, b'{"action":"reset"}', 403, "own page"),
        ({}, b'{"action":"reset"}', 403, "own page"),
        ({"origin": "", "content-type": "text/plain"}, b'{"action":"reset"}', 415, "application/json"),
        ({"origin": ""}, b'{"action":"format"}', 400, "no action"),
        ({"origin": ""}, b'{"action":"add_list","device":"nobody","name":"x"}', 400, "no such phone"),
        ({"origin": ""}, b'{"action":"add_list","device":"bob-phone","name":"' + b"x" * 501 + b'"}', 400, "<= 500"),
        ({"origin": ""}, b" " * (ACTIONS_BYTES_MAX + 1), 413, "bytes at most"),
        ({"origin": "", "host": "evil.example"}, b'{"action":"reset"}', 400, "host"),
    ],
)
def test_what_is_no_action_of_the_page_is_refused(
    demo: DemoProcess, headers: dict[str, str], body: bytes, status: int, told: str
) -> None:
    sent: dict[str, Any] = {"content-type": "application/json"} | headers
    if sent.get("origin") == "":
        sent["origin"] = demo.url
    request = urllib.request.Request(f"{demo.url}/actions", body, sent)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with refused.value as answer:
        text = answer.read().decode()
        assert (answer.code, told in text.lower() or told in text) == (status, True), text
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["../package.json", "%2e%2e/package.json", "@powersync/../../package.json", "none"])
def test_only_files_of_the_packages_are_served(demo: DemoProcess, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{demo.url}/packages/{path}", timeout=30)
    with refused.value as answer:
        assert answer.code == 404


def test_the_settings_of_the_second_tab_name_every_column(demo: DemoProcess) -> None:
    with urllib.request.urlopen(f"{demo.url}/web-sdk/settings", timeout=30) as answer:
        settings = json.load(answer)
    assert settings["schema"]["todos"]["columns"]["completed"] == "integer"
    assert settings["schema"]["todos"]["trackPrevious"] is True
    assert settings["schema"]["lists"] == {
        "columns": {"created_at": "text", "name": "text", "owner_id": "text"},
        "trackPrevious": False,
    }
