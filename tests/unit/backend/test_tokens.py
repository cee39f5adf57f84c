"""Tokens of the backend: what signs them, what is published, how long they live, and what a refusal says."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from syncline.auth.jwk import read_key
from syncline.auth.jwks_document import read_key_set
from syncline.auth.keys import StaticKeys
from syncline.auth.signer import SIGNING_ALGORITHMS, TokenSigner
from syncline.auth.verifier import TokenVerifier
from syncline.backend import AuthenticatedUser, BackendAuth
from syncline.backend.auth.providers import firebase
from syncline.backend.auth.rotating_signer import RotatingSigner
from syncline.backend.http.auth_endpoints import JWKS_ROUTES, TOKEN_ROUTES, answer_jwks, answer_token
from syncline.errors import AuthError, ConfigError

NOW_S = 1_800_000_000
URL = "https://sync.example.com"
SIGNERS = {algorithm: TokenSigner.generate(algorithm) for algorithm in SIGNING_ALGORITHMS}
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}
ANN = AuthenticatedUser("ann")


def make_auth(algorithm: str = "EdDSA", *, audience: str = "app", lifetime_s: int = 300) -> BackendAuth:
    return BackendAuth(SIGNERS[algorithm], audience=audience, service_url=URL, lifetime_s=lifetime_s)


async def refusal(auth: BackendAuth, authorization: str | None) -> AuthError:
    with pytest.raises(AuthError) as caught:
        await auth.authenticate(authorization)
    return caught.value


@pytest.mark.requirement(104, 105)
@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
async def test_each_algorithm_signs_what_its_public_part_verifies_and_publishes_nothing_private(algorithm: str) -> None:
    signer = SIGNERS[algorithm]
    token = signer.issue("ann", audience="app", now_s=NOW_S).token
    head = jwt.get_unverified_header(token)
    assert (head["alg"], head["kid"]) == (algorithm, signer.kid)
    published = signer.jwks()["keys"]
    assert [jwk["kid"] for jwk in published] == ([] if algorithm == "HS256" else [signer.kid])
    assert not any(PRIVATE_MEMBERS & set(jwk) for jwk in published)
    verified = TokenVerifier(StaticKeys([read_key(jwk) for jwk in published] or signer.keys.cached()), ["app"])
    assert (await verified.verify(token, now_s=NOW_S)).user_id == "ann"
    assert len(read_key_set(json.dumps(signer.jwks()).encode())) == len(published)


@pytest.mark.parametrize("algorithm", SIGNING_ALGORITHMS)
async def test_a_key_that_was_kept_is_the_same_key(algorithm: str) -> None:
    signer = SIGNERS[algorithm]
    kept = TokenSigner.from_private_jwk(json.loads(json.dumps(signer.private_jwk())))
    assert (kept.kid, kept.algorithm, kept.jwks()) == (signer.kid, algorithm, signer.jwks())
    token = kept.issue("ann", audience="app", now_s=NOW_S).token
    assert (await TokenVerifier(signer.keys, ["app"]).verify(token, now_s=NOW_S)).user_id == "ann"


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_pem_file_says_itself_what_it_signs_with(tmp_path: Path, algorithm: str) -> None:
    made = TokenSigner.from_pem_file(tmp_path / "key.pem", create=True, algorithm=algorithm)
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    again = TokenSigner.from_pem_file(tmp_path / "key.pem", create=True, algorithm="RS256")
    assert (again.algorithm, again.kid) == (algorithm, made.kid)
    with pytest.raises(ConfigError):
        TokenSigner.from_pem_file(tmp_path / "secret.pem", create=True, algorithm="HS256")


def test_what_is_no_key_to_sign_with_is_refused_and_not_shown() -> None:
    whole = SIGNERS["ES256"].private_jwk()
    p384 = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP384R1()), as_dict=True)
    short = {"kty": "oct", "kid": "k", "k": "c2VjcmV0"}
    public = SIGNERS["ES256"].jwks()["keys"][0]
    for jwk in (public, {"kty": "EC"}, {"kty": "strange"}, {}, {"kty": "oct", "k": whole["d"]}, short, p384):
        with pytest.raises(ConfigError) as caught:
            TokenSigner.from_private_jwk(jwk, where="The key of this test")
        assert whole["d"] not in str(caught.value)
    with pytest.raises(ConfigError, match="RS256"):
        TokenSigner.generate("none")


@pytest.mark.requirement(106, 121, 123)
async def test_the_token_endpoint_exchanges_a_session_for_a_token_its_end_and_the_service() -> None:
    auth = make_auth(lifetime_s=900)
    before_s = int(time.time())
    answered = answer_token(auth, ANN)
    answer = answered.body
    assert (answered.status, answered.headers) == (200, {"cache-control": "no-store"})
    assert set(answer) == {"token", "expiresAt", "powersync_url"}
    claims = jwt.decode(str(answer["token"]), options={"verify_signature": False})
    assert set(claims) == {"sub", "aud", "iat", "exp"}
    assert (claims["sub"], claims["aud"], claims["exp"] - claims["iat"]) == ("ann", "app", 900)
    assert before_s <= claims["iat"] <= time.time()
    assert answer["expiresAt"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(claims["exp"]))
    assert answer["powersync_url"] == URL


@pytest.mark.requirement(105, 121)
def test_nobody_gets_a_token_and_everybody_the_public_keys() -> None:
    auth = make_auth()
    for nobody in (None, AuthenticatedUser("")):
        answer = answer_token(auth, nobody)
        assert (answer.status, answer.body["code"], "token" in answer.body) == (401, "PSYNC_S2106", False)
        assert answer.headers["cache-control"] == "no-store"
    keys = answer_jwks(auth)
    assert (keys.status, keys.headers) == (200, {"cache-control": "public, max-age=60"})
    assert keys.body == SIGNERS["EdDSA"].jwks()
    assert TOKEN_ROUTES[0] == ("GET", "/api/auth/token")
    assert JWKS_ROUTES[0] == ("GET", "/api/auth/jwks")
    assert ("POST", "/api/powersync/auth") in TOKEN_ROUTES


@pytest.mark.requirement(106)
@pytest.mark.parametrize("lifetime_s", [0, -1, 86_401])
def test_a_lifetime_above_a_day_is_refused_before_the_first_token(lifetime_s: int) -> None:
    with pytest.raises(ConfigError, match="86400"):
        make_auth(lifetime_s=lifetime_s)
    make_auth(lifetime_s=86_400).issue(ANN)


async def test_extra_claims_reach_the_upload_and_cannot_name_another_user() -> None:
    auth = BackendAuth(
        SIGNERS["EdDSA"], audience="app", service_url=URL, claims=lambda user: {"org": f"org of {user.user_id}"}
    )
    user = await auth.authenticate(f"Bearer {auth.issue(ANN).token}")
    assert (user, user.claims["org"]) == (ANN, "org of ann")
    assert "org" not in repr(user)
    forging = BackendAuth(SIGNERS["EdDSA"], audience="app", service_url=URL, claims=lambda _: {"sub": "root"})
    with pytest.raises(ValueError, match="sub"):
        forging.issue(ANN)


@pytest.mark.requirement(107, 156)
async def test_every_refusal_has_its_code_and_a_hint() -> None:
    auth, now_s = make_auth(), time.time()
    signer = SIGNERS["EdDSA"]

    def signed(*, audience: str = "app", ago_s: float = 0, lifetime_s: int = 300) -> str:
        return f"Bearer {signer.issue('ann', audience=audience, now_s=now_s - ago_s, lifetime_s=lifetime_s).token}"

    day_and_more = jwt.encode(
        {"sub": "ann", "aud": "app", "iat": int(now_s) - 10, "exp": int(now_s) + 90_000},
        SIGNERS["ES256"]._material,
        algorithm="ES256",
        headers={"kid": SIGNERS["ES256"].kid},
    )
    both = BackendAuth(SIGNERS["ES256"], audience="app", service_url=URL)
    stranger = TokenSigner.generate("EdDSA").issue("ann", audience="app", now_s=now_s).token
    unsigned = jwt.encode({"sub": "ann"}, "", algorithm="none")
    cases = [
        (auth, None, "PSYNC_S2106"),
        (auth, "Basic YTpi", "PSYNC_S2106"),
        (auth, "Bearer a.b.c", "PSYNC_S2101"),
        (auth, f"Bearer {unsigned}", "PSYNC_S2101"),
        (auth, f"Bearer {stranger}", "PSYNC_S2101"),
        (auth, signed()[:-4] + "AAAA", "PSYNC_S2101"),
        (auth, signed(ago_s=-400), "PSYNC_S2101"),
        (auth, signed(ago_s=400), "PSYNC_S2103"),
        (both, f"Token {day_and_more}", "PSYNC_S2104"),
        (auth, signed(audience="app/"), "PSYNC_S2105"),
        (auth, signed(audience="https://app"), "PSYNC_S2105"),
    ]
    for checking, authorization, code in cases:
        error = await refusal(checking, authorization)
        assert (error.error_code, error.status) == (code, 401), authorization
        assert error.hint
        assert "app" not in error.hint  # what is accepted is for the log, not for strangers
        assert authorization is None or authorization.split()[-1] not in str(error)
    assert (await auth.authenticate(signed())).user_id == "ann"
    assert "app/" in (await refusal(auth, signed(audience="app/"))).message


def test_what_would_refuse_or_accept_everything_is_told_when_it_is_set_up() -> None:
    with pytest.raises(ConfigError, match="audience"):
        make_auth(audience="")
    with pytest.raises(ConfigError, match="no keys"):
        BackendAuth(None, audience="app", service_url=URL)


async def test_where_others_issue_the_tokens_the_backend_issues_none() -> None:
    auth = BackendAuth.from_provider(firebase("my-app"), service_url=URL)
    assert (auth.issues_tokens, make_auth().issues_tokens) == (False, True)
    assert answer_jwks(auth).body == {"keys": []}
    assert answer_token(auth, ANN).status == 404
    with pytest.raises(ConfigError, match="another issuer"):
        auth.issue(ANN)
    await auth.close()
    await make_auth().close()


async def test_a_signer_whose_keys_rotate_stands_where_one_key_stands(tmp_path: Path) -> None:
    signer = RotatingSigner.open(tmp_path / "keys", algorithm="ES256")
    auth = BackendAuth(signer, audience="app", service_url=URL)
    announced = signer.rotate()
    assert (await auth.authenticate(f"Bearer {auth.issue(ANN).token}")).user_id == "ann"
    published = json.loads(json.dumps(auth.jwks()))["keys"]
    assert [jwk["kid"] for jwk in published if jwk["kid"] != signer.kid] == [announced]
    assert not any(PRIVATE_MEMBERS & set(jwk) for jwk in published)
