"""The dashboard's page in a browser, on a desk and on a phone: what it shows is asserted in the document."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from syncline.testing.postgres import ScratchDatabase
from syncline.testing.service_process import ServiceProcess
from tests.integration.dashboard.chromium import Browser, Page, running_browser
from tests.integration.dashboard.conftest import ACTIVE, ADMIN, SMALLER, answer, connected, shown_client

DESK, PHONE = (1280, 900), (390, 844)  # pixels
DEPLOY_TIMEOUT_S = 60.0
ENTER = 13


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser]:
    async with running_browser() as running:
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


def text_of(element: str) -> str:
    return f"document.getElementById('{element}').textContent"


async def signed_in(page: Page, token: str = ADMIN) -> None:
    await page.until("document.getElementById('sign-in-button').disabled === false")
    await page.type("token", token)
    await page.press("Enter", ENTER)


async def previewed(page: Page, content: str, users: str) -> None:
    await page.type("preview-text", content)
    await page.type("preview-users", users)
    await page.click("#preview-form button[type=submit]")


@pytest.mark.requirement(191)
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_the_page_shows_how_the_service_stands(
    browser: Browser, service: ServiceProcess, size: tuple[int, int], tmp_path: Path
) -> None:
    width, height = size
    client_id = f"device-{width}"
    with connected(service, "u1", client_id=client_id):
        shown_client(service, client_id)
        async with browser.page(f"{service.base_url}/dashboard", width=width, height=height) as page:
            await signed_in(page)
            await page.until(f"{text_of('health')} === 'Healthy'")
            row = f"[...document.querySelectorAll('#clients-here tbody tr')].find((row) => row.textContent.includes('{client_id}'))"
            shown = await page.until(f"{row}.textContent")
            assert shown.startswith(f"u1{client_id}")
            assert "public.lists" in await page.run(text_of("versions"))
            assert await page.until(text_of("active-text")) == ACTIVE
            await page.click("#buckets-load")
            await page.until(f"{text_of('buckets-result')}.includes('lists|0')")
            # In a phone's width too, nothing but tables and code is wider than the page, and those scroll by themselves.
            assert await page.run("document.documentElement.scrollWidth") <= width
            unlabelled = "[...document.querySelectorAll('input, textarea')].filter((one) => !one.labels.length).length"
            assert await page.run(unlabelled) == 0
            assert await page.run("sessionStorage.length + localStorage.length + document.cookie.length") == 1
            assert ADMIN not in await page.run("location.href + document.documentElement.outerHTML")
            await page.picture(tmp_path / f"dashboard-{width}.png")
            light = await page.run("getComputedStyle(document.body).backgroundColor")
            dark = [{"name": "prefers-color-scheme", "value": "dark"}]
            await page.call("Emulation.setEmulatedMedia", features=dark)
            assert await page.run("getComputedStyle(document.body).backgroundColor") != light
            await page.picture(tmp_path / f"dashboard-{width}-dark.png")
            await page.click("#sign-out")
            await page.until("sessionStorage.length === 0 && document.getElementById('panels').hidden")
            assert "public.lists" not in await page.run("document.body.textContent")
            assert page.complaints == []


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
async def test_questions_are_answered_in_the_page(
    browser: Browser, service: ServiceProcess, size: tuple[int, int], tmp_path: Path
) -> None:
    width, height = size
    async with browser.page(f"{service.base_url}/dashboard", width=width, height=height) as page:
        await signed_in(page)
        await page.until("document.getElementById('active-text') !== null")
        await previewed(page, ACTIVE.replace("auth.user_id()", "auth.nothing()"), "")
        await page.until(f"{text_of('preview-result')}.includes('Line 6, column')")
        assert await page.run("document.getElementById('deploy').disabled")
        await previewed(page, SMALLER, 'u1\n{"sub": "u2"}')
        left = await page.until("document.querySelector('[data-user=u1] details').textContent")
        assert left == "1 row would leave the device (lists: 1)lists l2"
        other = await page.run("document.querySelector('[data-user=u2]').textContent")
        assert "No row would leave the device." in other
        for field, text in (("explain-table", "lists"), ("explain-id", "l3"), ("explain-user", "u1")):
            await page.type(field, text)
        await page.press("Enter", ENTER)
        await page.until(f"{text_of('explain-word')}.startsWith('No')")
        assert "the row has 'u2', the user has 'u1'" in await page.run(text_of("explain-result"))
        await page.type("explain-user", "{no json")
        await page.press("Enter", ENTER)
        await page.until(f"{text_of('explain-result')}.includes('This is no JSON')")
        assert await page.run("document.documentElement.scrollWidth") <= width
        await page.picture(tmp_path / f"questions-{width}.png")
        assert page.complaints == []


async def test_a_wrong_token_signs_nobody_in(browser: Browser, service: ServiceProcess) -> None:
    async with browser.page(f"{service.base_url}/dashboard", width=390, height=844) as page:
        await signed_in(page, "wrong")
        await page.until(f"{text_of('sign-in-error')} === 'The token is refused.'")
        assert await page.run("document.getElementById('panels').hidden && sessionStorage.length === 0")


@pytest.mark.requirement(191)
async def test_a_tail_shows_operations_as_they_come(
    browser: Browser, service: ServiceProcess, dashboard_source: ScratchDatabase
) -> None:
    async with browser.page(f"{service.base_url}/dashboard", width=390, height=844) as page:
        await signed_in(page)
        await page.type("tail-user", "u2")
        await page.click("#tail-form button[type=submit]")
        await page.until(f"{text_of('tail-state')} === 'Watching 1 buckets of u2.'")
        dashboard_source.execute("UPDATE lists SET name = 'renamed' WHERE id = 'l3'")
        await page.until(f"{text_of('tail-lines')}.includes('PUT lists l3')")
        await page.click("#tail-stop")
        await page.until(f"{text_of('tail-state')} === 'Stopped.'")
        assert page.complaints == []


@pytest.mark.requirement(243)
async def test_a_config_is_deployed_and_rolled_back(browser: Browser, service: ServiceProcess) -> None:
    async with browser.page(f"{service.base_url}/dashboard", width=1280, height=900) as page:
        await signed_in(page)
        await page.until("document.getElementById('active-text') !== null")
        await previewed(page, SMALLER, "u1")
        await page.click("#deploy")
        await page.until("document.getElementById('confirm').open")
        await page.click("#confirm-yes")
        await page.until(f"{text_of('deploy-note')}.startsWith('Deployed')")
        await page.until(f"{text_of('active-text')}.includes('NOT archived')", timeout_s=DEPLOY_TIMEOUT_S)
        assert answer(service, "config")["active"]["text"] == SMALLER
        await page.click("#deployments button[aria-label^='Roll back']:not(:disabled)")
        await page.until("document.getElementById('confirm').open")
        await page.click("#confirm-yes")
        await page.until(f"!{text_of('active-text')}.includes('NOT archived')", timeout_s=DEPLOY_TIMEOUT_S)
        assert answer(service, "config")["active"]["text"] == ACTIVE
        assert page.complaints == []


async def test_a_copy_under_way_shows_how_far_it_is_and_when_it_ends(browser: Browser, service: ServiceProcess) -> None:
    overview = answer(service, "overview")
    overview["deploying"] = overview["active"]
    [connection] = overview["deploying"]["connections"]
    connection |= {"safe_wal_size": 512 * 1024, "max_slot_wal_keep_size": 1024 * 1024, "replication_lag_bytes": 2048}
    connection["tables"][0]["snapshot"] = {"state": "pending", "rows": 1234, "share": 0.25, "seconds_left": 180.0}
    overview["deploying"]["errors"] = [{"level": "fatal", "message": "<b>the slot was lost</b>"}]
    async with browser.page(f"{service.base_url}/dashboard", width=390, height=844) as page:
        module = "import(new URL('dashboard/overview.js', document.baseURI))"
        await page.run(f"{module}.then((module) => module.showOverview({json.dumps(overview)}))")
        shown = await page.run(text_of("versions"))
        assert "25 %, about 3 min left" in shown
        assert "1,234" in shown
        assert "512.0 KiB of 1.0 MiB" in shown
        assert "<b>the slot was lost</b>" in shown  # a text, never markup
        assert await page.run("document.querySelector('#versions progress').value") == 25
        assert await page.run(text_of("health")) == "Serving, with problems"
        assert page.complaints == []


async def test_a_service_that_does_not_answer_is_told_and_found_again(
    browser: Browser, service: ServiceProcess
) -> None:
    async with browser.page(f"{service.base_url}/dashboard", width=1280, height=900) as page:
        await signed_in(page)
        await page.until(f"{text_of('health')} === 'Healthy'")
        conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        for offline, told in ((True, "The service does not answer"), (False, "Healthy")):
            await page.call("Network.emulateNetworkConditions", offline=offline, **conditions)
            await page.run(
                "document.dispatchEvent(new Event('visibilitychange'))"
            )  # as if the tab were looked at again
            await page.until(f"{text_of('health')} === '{told}'")
        await page.until(f"{text_of('failure')} === ''")
