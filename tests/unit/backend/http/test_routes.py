from __future__ import annotations

import json
from datetime import UTC, datetime

import jwt
import pytest
from fastapi import FastAPI, HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp

from syncline.auth.signer import TokenSigner
from syncline.backend import AuthenticatedUser
from syncline.backend.fastapi import backend_router
from syncline.backend.http.request_limits import RequestLimits
from syncline.backend.http.routes import ALL_ROUTES
from syncline.backend.persisters.base import WriteRefused
from syncline.backend.starlette import development_login
from tests.unit.backend.asgi import (
    AUDIENCE,
    SERVICE_URL,
    SIGNER,
    RecordingPersister,
    ask,
    bearer,
    make_app,
    make_backend,
    operation,
    upload,
)

JSON = {"content-type": "application/json"}


def fastapi_app(persister: RecordingPersister) -> FastAPI:
    app = FastAPI()
    app.include_router(backend_router(make_backend(persister), current_user=development_login()))
    return app


@pytest.fixture
def persister() -> RecordingPersister:
    return RecordingPersister()


@pytest.fixture(params=["starlette", "fastapi"])
def app(request: pytest.FixtureRequest, persister: RecordingPersister) -> ASGIApp:
    """Both faces serve the same."""
    return make_app(persister) if request.param == "starlette" else fastapi_app(persister)


@pytest.mark.requirement(127)
async def test_an_upload_answers_200_with_a_verdict_per_transaction(
    app: ASGIApp, persister: RecordingPersister
) -> None:
    persister.failures["bad"] = WriteRefused("CHECK_VIOLATION", "no", operation_index=0)
    body = upload([operation(row_id="a")], [operation(row_id="bad")], [operation(row_id="c")])
    answer = await ask(app, "POST", "/api/data", headers=JSON | bearer("ann"), body=body)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert [result["status"] for result in answer.json()["results"]] == ["success", "fatal_error", "not_attempted"]
    assert persister.applied[0][0].owner == ("owner_id", "ann")


async def test_the_first_form_is_one_transaction_and_gets_one_verdict(
    app: ASGIApp, persister: RecordingPersister
) -> None:
    """The entry's `client_id` is the number of the operation in this form; it says nothing to us."""
    body = json.dumps({"crud": [{"client_id": 7, **operation(row_id="a")}], "transaction_id": 3}).encode()
    answer = await ask(app, "POST", "/api/data", headers=JSON | bearer("ann"), body=body)
    assert (answer.status, answer.json()) == (200, {"status": "success"})
    assert [write.id for write in persister.applied[0]] == ["a"]
    persister.failures["bad"] = WriteRefused("CHECK_VIOLATION", "no", operation_index=0)
    body = json.dumps({"crud": [operation(row_id="bad")]}).encode()
    refused = (await ask(app, "POST", "/api/data", headers=JSON | bearer("ann"), body=body)).json()
    assert (refused["status"], refused["failed_operation"]["error_code"]) == ("fatal_error", "CHECK_VIOLATION")
    empty = await ask(app, "POST", "/api/data", headers=JSON | bearer("ann"), body=b'{"crud": []}')
    assert empty.status == 400


async def test_a_checkpoint_counts_for_the_token_s_user_whatever_the_body_says(app: ASGIApp) -> None:
    async def count(user: str, body: bytes) -> tuple[int, object]:
        answer = await ask(app, "PUT", "/api/data/checkpoint", headers=JSON | bearer(user), body=body)
        return answer.status, answer.json()

    mine = b'{"client_id": "phone", "user_id": "bob"}'
    assert await count("ann", mine) == (200, {"checkpoint": "1"})
    assert await count("ann", mine) == (200, {"checkpoint": "2"})
    assert await count("bob", mine) == (200, {"checkpoint": "1"})
    assert (await count("ann", b"{}"))[0] == 400
    refused = await ask(app, "PUT", "/api/data/checkpoint", body=mine)
    assert refused.status == 401


@pytest.mark.requirement(156)
@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer a.b.c", "Basic YTpi"])
async def test_an_upload_without_a_good_token_is_refused_unread(
    app: ASGIApp, persister: RecordingPersister, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = await ask(app, "POST", "/api/data", headers=headers, body=upload([operation()]))
    assert answer.status == 401
    assert answer.json()["message"]
    assert answer.json()["code"].startswith("PSYNC_S21")
    assert persister.applied == []


@pytest.mark.requirement(156)
async def test_a_token_of_another_key_or_another_audience_is_refused(app: ASGIApp) -> None:
    strange = TokenSigner.from_secret(b"1" * 32, kid="test").issue(
        "ann", audience=AUDIENCE, now_s=datetime.now().timestamp()
    )
    elsewhere = SIGNER.issue("ann", audience="elsewhere", now_s=datetime.now().timestamp())
    for signed in (strange, elsewhere):
        headers = {"authorization": f"Bearer {signed.token}"}
        assert (await ask(app, "POST", "/api/data", headers=headers, body=upload([operation()]))).status == 401


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"transactions": []}', b'{"transactions": [{"crud": []}]}'])
async def test_a_body_that_is_no_batch_is_400(app: ASGIApp, body: bytes) -> None:
    answer = await ask(app, "POST", "/api/data", headers=bearer("ann"), body=body)
    assert answer.status == 400
    assert answer.json()["message"]


async def test_fifty_one_transactions_are_too_many(app: ASGIApp, persister: RecordingPersister) -> None:
    answer = await ask(app, "POST", "/api/data", headers=bearer("ann"), body=upload(*[[operation()]] * 51))
    assert answer.status == 400
    assert persister.applied == []


async def test_a_body_above_the_limit_is_413_whether_announced_or_not(
    persister: RecordingPersister,
) -> None:
    body = upload([operation()])
    app = make_app(persister, limits=RequestLimits(body_bytes=len(body)))
    assert (await ask(app, "POST", "/api/data", headers=bearer("ann"), body=body)).status == 200
    headers = bearer("ann") | {"content-length": str(len(body) + 1)}
    assert (await ask(app, "POST", "/api/data", headers=headers)).status == 413
    assert (await ask(app, "POST", "/api/data", headers=bearer("ann"), body=[body, b" "])).status == 413
    assert len(persister.applied) == 1


async def test_an_upload_that_breaks_off_is_not_looked_at(app: ASGIApp, persister: RecordingPersister) -> None:
    assert (await ask(app, "POST", "/api/data", headers=bearer("ann"), body=())).status == 400
    assert persister.applied == []


@pytest.mark.requirement(106)
async def test_a_signed_in_user_gets_a_short_lived_token(app: ASGIApp) -> None:
    answer = await ask(app, "GET", "/api/auth/token", query="user_id=ann")
    content = answer.json()
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert content.keys() == {"token", "expiresAt", "powersync_url"}
    assert content["powersync_url"] == SERVICE_URL
    claims = jwt.decode(content["token"], options={"verify_signature": False})
    assert (claims["sub"], claims["aud"], claims["exp"] - claims["iat"]) == ("ann", AUDIENCE, 300)
    assert jwt.get_unverified_header(content["token"])["kid"] == "test"
    assert datetime.fromisoformat(content["expiresAt"]) == datetime.fromtimestamp(claims["exp"], UTC)


async def test_the_issued_token_is_good_for_uploads(app: ASGIApp, persister: RecordingPersister) -> None:
    token = (await ask(app, "GET", "/api/auth/token", query="user_id=eve")).json()["token"]
    headers = {"authorization": f"Token {token}"}
    assert (await ask(app, "POST", "/api/data", headers=headers, body=upload([operation()]))).status == 200
    assert persister.applied[0][0].owner == ("owner_id", "eve")


@pytest.mark.requirement(122)
async def test_the_config_says_where_the_service_is_and_who_is_asking(app: ASGIApp) -> None:
    answer = await ask(app, "GET", "/api/powersync/config", query="user_id=ann")
    assert (answer.status, answer.json()) == (200, {"powersyncUrl": SERVICE_URL, "userId": "ann"})
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/auth/token", "/api/powersync/config"])
async def test_nobody_gets_nothing(app: ASGIApp, path: str) -> None:
    for query in ("", "user_id="):
        answer = await ask(app, "GET", path, query=query)
        assert answer.status == 401
        assert answer.json()["message"].startswith("Nobody is signed in.")


@pytest.mark.requirement(121, 123)
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/powersync/auth"), ("GET", "/api/get_powersync_token/")])
async def test_older_clients_get_their_token_where_they_ask(app: ASGIApp, method: str, path: str) -> None:
    answer = await ask(app, method, path, query="user_id=ann")
    assert (answer.status, answer.json().keys()) == (200, {"token", "expiresAt", "powersync_url"})


@pytest.fixture(scope="module")
def rsa_signer() -> TokenSigner:
    return TokenSigner.generate()


@pytest.mark.requirement(105)
@pytest.mark.parametrize("path", ["/api/auth/jwks", "/api/auth/keys", "/.well-known/jwks.json", "/api/get_keys/"])
async def test_the_key_set_has_public_parts_only(path: str, rsa_signer: TokenSigner) -> None:
    app = make_app(signer=rsa_signer)
    answer = await ask(app, "GET", path)
    [key] = answer.json()["keys"]
    assert key.keys() == {"kty", "n", "e", "alg", "use", "kid"}
    assert answer.headers["cache-control"] == "public, max-age=60"


@pytest.mark.requirement(105)
async def test_a_shared_secret_is_never_published(app: ASGIApp) -> None:
    answer = await ask(app, "GET", "/api/auth/jwks")
    assert answer.json() == {"keys": []}


@pytest.mark.parametrize(
    ("server", "host", "headers"),
    [
        (("10.0.0.5", 80), "127.0.0.1", {}),
        (("10.0.0.5", 80), "10.0.0.5", {}),
        (("127.0.0.1", 80), "attacker.example", {}),
        (("127.0.0.1", 80), "127.0.0.1", {"x-forwarded-for": "203.0.113.7"}),
        (("127.0.0.1", 80), "127.0.0.1", {"forwarded": "for=203.0.113.7"}),
        (None, "127.0.0.1", {}),
    ],
)
async def test_the_development_login_is_refused_off_loopback_with_what_to_do(
    app: ASGIApp, server: tuple[str, int] | None, host: str, headers: dict[str, str]
) -> None:
    for path in ("/api/auth/token", "/api/powersync/config"):
        answer = await ask(app, "GET", path, query="user_id=ann", server=server, host=host, headers=headers)
        assert answer.status == 401
        assert "loopback only" in answer.json()["message"]
        assert "current_user" in answer.json()["message"]


@pytest.mark.parametrize("host", ["localhost:6061", "127.0.0.1:6061", "[::1]:6061"])
async def test_the_development_login_works_over_loopback(app: ASGIApp, host: str) -> None:
    answer = await ask(app, "GET", "/api/auth/token", query="user_id=ann", server=("::1", 6061), host=host)
    assert answer.status == 200


async def test_an_app_brings_its_own_login() -> None:
    async def current_user(request: Request) -> AuthenticatedUser | None:
        return AuthenticatedUser("kim") if request.cookies.get("session") == "s1" else None

    app = FastAPI()
    app.include_router(backend_router(make_backend(), current_user=current_user))
    answer = await ask(app, "GET", "/api/powersync/config", headers={"cookie": "session=s1"}, host="example.org")
    assert answer.json()["userId"] == "kim"
    assert (await ask(app, "GET", "/api/powersync/config")).status == 401


async def test_an_exception_of_the_framework_in_the_login_is_for_the_framework() -> None:
    async def current_user(_request: Request) -> AuthenticatedUser | None:
        raise HTTPException(418, "no tea")

    app = FastAPI()
    app.include_router(backend_router(make_backend(), current_user=current_user))
    answer = await ask(app, "GET", "/api/auth/token")
    assert (answer.status, answer.json()) == (418, {"detail": "no tea"})
    assert (await ask(app, "POST", "/api/data", headers=bearer("ann"), body=upload([operation()]))).status == 200


async def test_fastapi_documents_the_routes() -> None:
    answer = await ask(fastapi_app(RecordingPersister()), "GET", "/openapi.json")
    assert {"/api/data", "/api/auth/token", "/api/auth/jwks", "/api/powersync/config"} <= answer.json()["paths"].keys()
    assert json.dumps(answer.json()).count('"operationId"') == len(ALL_ROUTES)


async def test_opening_and_closing_the_backend_opens_and_closes_its_database(persister: RecordingPersister) -> None:
    backend = make_backend(persister)
    await backend.open()
    assert persister.opened
    await backend.close()
    assert not persister.opened
