from __future__ import annotations

import json
import time
from typing import Any

import pytest

from syncline.backend import AuthenticatedUser, SyncBackend
from syncline.backend.dead_letters.letters import DeadLetterFilter, DeadLetterState, new_letter_id
from syncline.backend.http.dead_letter_endpoints import holds_claim
from syncline.backend.http.messages import BackendRequest
from syncline.backend.limits import DEAD_LETTERS_LISTED_MAX
from syncline.backend.persisters.base import WriteRefused
from tests.unit.backend.asgi import SIGNER, RecordingPersister, bearer, make_backend, operation, upload
from tests.unit.backend.letters import LettersInMemory

REFUSED = WriteRefused("CHECK_VIOLATION", "no", operation_index=0)


class Desk:
    """A backend in which ann has two letters and bob one."""

    def __init__(self) -> None:
        self.letters = LettersInMemory()
        self.persister = RecordingPersister(failures={"l1": REFUSED})
        self.backend: SyncBackend = make_backend(
            self.persister, dead_letters=self.letters, dead_letters_admin=holds_claim("role", "admin")
        )

    async def fill(self) -> None:
        for user, name in (("ann", "1"), ("bob", "2"), ("ann", "3")):
            body = upload([operation(op_data={"name": name})])
            await self.backend.handle_upload(body, AuthenticatedUser(user, {"org": user}))

    async def ask(self, method: str, path: str = "", *, user: str = "ann", **query: str) -> tuple[int, Any]:
        request = BackendRequest(method, f"/api/dead-letters{path}", query=query, headers=headers(user))
        answer = await self.backend.handle(request)
        return answer.status, json.loads(answer.body)


def headers(user: str) -> dict[str, str]:
    if user != "root":
        return bearer(user)
    token = SIGNER.issue("root", audience="tests", now_s=time.time(), lifetime_s=60, claims={"role": "admin"}).token
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
async def desk() -> Desk:
    found = Desk()
    await found.fill()
    return found


@pytest.mark.requirement(147)
async def test_a_user_sees_their_own_letters_with_what_was_sent_and_no_claims(desk: Desk) -> None:
    status, page = await desk.ask("GET")
    assert status == 200
    assert [letter["transaction"]["crud"][0]["op_data"]["name"] for letter in page["letters"]] == ["1", "3"]
    assert {letter["user_id"] for letter in page["letters"]} == {"ann"}
    assert page["next"] == page["letters"][-1]["id"]
    assert "org" not in json.dumps(page)


async def test_pages_follow_each_other_and_end(desk: Desk) -> None:
    _, first = await desk.ask("GET", limit="1")
    _, second = await desk.ask("GET", limit="1", after=first["next"])
    assert first["letters"][0]["id"] < second["letters"][0]["id"]
    assert await desk.ask("GET", after=second["next"]) == (200, {"letters": [], "next": None})


async def test_filters_are_filters(desk: Desk) -> None:
    [letter, _] = (await desk.ask("GET"))[1]["letters"]
    await desk.ask("POST", f"/{letter['id']}/discard")
    assert [found["id"] for found in (await desk.ask("GET", state="discarded"))[1]["letters"]] == [letter["id"]]
    assert (await desk.ask("GET", code="OTHER"))[1]["letters"] == []
    assert (await desk.ask("GET", client_id="c9"))[1]["letters"] == []


@pytest.mark.parametrize(
    "query",
    [{"state": "lost"}, {"limit": "0"}, {"limit": "many"}, {"limit": str(DEAD_LETTERS_LISTED_MAX + 1)}, {"code": "\0"}],
)
async def test_a_question_that_makes_no_sense_is_400(desk: Desk, query: dict[str, str]) -> None:
    assert (await desk.ask("GET", **query))[0] == 400


async def test_only_an_admin_sees_the_letters_of_others(desk: Desk) -> None:
    assert (await desk.ask("GET", all="true"))[0] == 403
    assert (await desk.ask("GET", user_id="bob"))[0] == 403
    everybody = (await desk.ask("GET", user="root", all="true"))[1]["letters"]
    assert [letter["user_id"] for letter in everybody] == ["ann", "bob", "ann"]
    [of_bob] = (await desk.ask("GET", user="root", user_id="bob"))[1]["letters"]
    for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/discard")):
        assert (await desk.ask(method, f"/{of_bob['id']}{path}"))[0] == 404
    assert (await desk.ask("GET", f"/{of_bob['id']}", user="root"))[1] == of_bob


async def test_nobody_sees_letters_without_a_token(desk: Desk) -> None:
    answer = await desk.backend.handle(BackendRequest("GET", "/api/dead-letters"))
    assert answer.status == 401


@pytest.mark.requirement(147)
async def test_a_retry_is_judged_as_its_user_by_the_claims_of_the_upload_or_by_the_user_s_own(desk: Desk) -> None:
    mine, of_bob = [await desk.letters.list(DeadLetterFilter(user_id=user)) for user in ("ann", "bob")]
    desk.persister.failures.clear()
    assert await desk.ask("POST", f"/{mine[0].id}/retry") == (200, {"status": "success"})
    assert await desk.ask("POST", f"/{of_bob[0].id}/retry", user="root") == (200, {"status": "success"})
    contexts = [write.context for writes in desk.persister.applied for write in writes]
    assert [(context.user_id, context.claims.get("org")) for context in contexts] == [("ann", None), ("bob", "bob")]
    assert desk.letters.letters[mine[0].id].state is DeadLetterState.RETRIED
    assert await desk.ask("POST", f"/{mine[0].id}/retry") == (200, {"status": "success", "deduplicated": True})
    assert (await desk.ask("POST", f"/{mine[0].id}/discard"))[0] == 409


async def test_what_is_refused_again_stays_open_and_says_so(desk: Desk) -> None:
    [letter, _] = await desk.letters.list(DeadLetterFilter(user_id="ann"))
    desk.persister.failures["l1"] = WriteRefused("UNIQUE_VIOLATION", "taken")
    status, verdict = await desk.ask("POST", f"/{letter.id}/retry")
    assert (status, verdict["status"]) == (200, "fatal_error")
    after = desk.letters.letters[letter.id]
    assert (after.state, after.retries, after.code) == (DeadLetterState.OPEN, 1, "UNIQUE_VIOLATION")
    desk.persister.failures["l1"] = KeyError("a value")
    status, verdict = await desk.ask("POST", f"/{letter.id}/retry")
    assert (status, verdict["status"]) == (200, "retryable_error")
    assert desk.letters.letters[letter.id].retries == 1


async def test_a_discarded_letter_is_not_retried(desk: Desk) -> None:
    [letter, _] = await desk.letters.list(DeadLetterFilter(user_id="ann"))
    assert (await desk.ask("POST", f"/{letter.id}/discard"))[1]["state"] == "discarded"
    assert (await desk.ask("POST", f"/{letter.id}/retry"))[0] == 409
    assert desk.persister.applied == []


@pytest.mark.parametrize("letter_id", ["01a2003d-6466-726a-bde9-76e7f6b651d1", "nothing", "%"])
async def test_a_letter_that_is_not_there_is_404(desk: Desk, letter_id: str) -> None:
    for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/discard")):
        assert (await desk.ask(method, f"/{letter_id}{path}"))[0] == 404


async def test_a_backend_without_a_store_says_so() -> None:
    desk = Desk()
    desk.backend = make_backend(RecordingPersister())
    for method, path in (("GET", ""), ("GET", "/x"), ("POST", "/x/retry"), ("POST", "/x/discard")):
        status, answer = await desk.ask(method, path)
        assert (status, "keeps no dead letters" in answer["message"]) == (404, True)


async def test_letters_that_are_away_are_503(desk: Desk) -> None:
    desk.letters.away = True
    assert (await desk.ask("GET"))[0] == 503


def test_ids_of_letters_sort_by_time() -> None:
    times_ns = (0, 1_000_000, 1_700_000_000_000_000_000, 1_700_000_000_000_000_300, 1_700_000_000_001_000_000)
    ids = [new_letter_id(now_ns) for now_ns in times_ns]
    assert ids == sorted(ids)
    assert all(letter_id[14] == "7" and len(letter_id) == 36 for letter_id in ids)


@pytest.mark.parametrize(
    ("claims", "admin"),
    [({"role": "admin"}, True), ({"role": ["user", "admin"]}, True), ({"role": "user"}, False), ({}, False)],
)
def test_an_admin_is_who_holds_the_claim(claims: dict[str, Any], admin: bool) -> None:
    assert holds_claim("role", "admin")(AuthenticatedUser("x", claims)) is admin
    assert holds_claim("app.role", "admin")(AuthenticatedUser("x", {"app": claims})) is admin
