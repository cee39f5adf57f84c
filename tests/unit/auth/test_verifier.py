"""Which tokens are accepted, and with which code the others are refused."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from syncline.auth.keys import StaticKeys, read_key
from syncline.auth.signer import TokenSigner
from syncline.auth.verifier import TOKEN_BYTES_MAX, TokenVerifier, parse_authorization
from syncline.errors import AuthError, ConfigError, TokenMissing

NOW_S = 1_800_000_000
SECRET = b"secret-secret-secret-secret-secret-secret-secret-secret-64-bytes"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEYS = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
}


def oct_jwk(algorithm: str, **fields: Any) -> dict[str, Any]:
    return {"kty": "oct", "alg": algorithm, "k": base64.urlsafe_b64encode(SECRET).decode(), **fields}


def rsa_jwk(**fields: Any) -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), **fields}


def claims(**changed: Any) -> dict[str, Any]:
    return {"sub": "user-1", "aud": "app", "iat": NOW_S, "exp": NOW_S + 300, **changed}


def verifier(*jwks: dict[str, Any], **options: Any) -> TokenVerifier:
    return TokenVerifier(StaticKeys.from_jwks(jwks), ["app"], **options)


async def code_of(token: str, checks: TokenVerifier) -> str:
    with pytest.raises(AuthError) as caught:
        await checks.verify(token, now_s=NOW_S)
    assert caught.value.status == 401
    return caught.value.error_code


def sign(payload: dict[str, Any], *, kid: str | None = "k", algorithm: str = "HS256", key: Any = SECRET) -> str:
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid} if kid else {})


def without_signature(header: dict[str, Any], payload: dict[str, Any]) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload))
    return ".".join(parts) + "."


MATRIX = [
    *((name, SECRET, oct_jwk(name)) for name in ("HS256", "HS384", "HS512")),
    *((name, RSA_KEY, rsa_jwk()) for name in ("RS256", "RS384", "RS512")),
    *((name, key, ECAlgorithm.to_jwk(key.public_key(), as_dict=True)) for name, key in EC_KEYS.items()),
    *(
        ("EdDSA", key, OKPAlgorithm.to_jwk(key.public_key(), as_dict=True))
        for key in (ed25519.Ed25519PrivateKey.generate(), ed448.Ed448PrivateKey.generate())
    ),
]


@pytest.mark.requirement(104, missing="through JWKS")
@pytest.mark.parametrize(("algorithm", "key", "jwk"), MATRIX)
async def test_every_algorithm_of_the_matrix_is_verified_with_its_key(
    algorithm: str, key: Any, jwk: dict[str, Any]
) -> None:
    token = sign(claims(), algorithm=algorithm, key=key)
    verified = await verifier({**jwk, "kid": "k"}).verify(token, now_s=NOW_S)
    assert (verified.user_id, verified.expires_at_s, verified.payload["aud"]) == ("user-1", NOW_S + 300, "app")
    head, body, _ = token.split(".")
    assert await code_of(f"{head}.{body}.{'A' * 86}", verifier({**jwk, "kid": "k"})) == "PSYNC_S2101"


@pytest.mark.requirement(108)
async def test_a_token_is_verified_with_the_key_of_its_kid_only_and_a_wildcard_serves_the_rest() -> None:
    named, wildcard = rsa_jwk(kid="k", alg="RS256"), oct_jwk("HS256")
    assert await code_of(sign(claims(), kid="k"), verifier(named, wildcard)) == "PSYNC_S2101"
    assert await code_of(sign(claims(), kid="other"), verifier(named)) == "PSYNC_S2101"
    assert await code_of(sign(claims(), kid=None), verifier(oct_jwk("HS256", kid="k"))) == "PSYNC_S2101"
    for kid in (None, "other"):
        assert (await verifier(named, wildcard).verify(sign(claims(), kid=kid), now_s=NOW_S)).user_id == "user-1"


async def test_a_public_key_used_as_a_secret_and_alg_none_are_refused() -> None:
    public = rsa_jwk(kid="k")
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = without_signature({"alg": "HS256", "kid": "k"}, claims()).removesuffix(".")
    signature = base64.urlsafe_b64encode(hmac.digest(pem, signed.encode(), "sha256")).rstrip(b"=").decode()
    assert await code_of(f"{signed}.{signature}", verifier(public)) == "PSYNC_S2101"
    for name in ("none", "None", "PS256", None):
        token = without_signature({"alg": name, "kid": "k"}, claims())
        assert await code_of(token, verifier(public, oct_jwk("HS256"))) == "PSYNC_S2101"


@pytest.mark.requirement(109)
@pytest.mark.requirement(110, missing="an open stream ends at expiry")
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": NOW_S - 60}, "PSYNC_S2103"),
        ({"exp": NOW_S + 86_401}, "PSYNC_S2104"),
        ({"aud": "other"}, "PSYNC_S2105"),
        ({"aud": []}, "PSYNC_S2105"),
        ({"aud": "app/"}, "PSYNC_S2105"),
        ({"aud": 7}, "PSYNC_S2101"),
        ({"iat": NOW_S + 61}, "PSYNC_S2101"),
        ({"nbf": NOW_S + 61}, "PSYNC_S2101"),
        ({"parameters": "text"}, "PSYNC_S2101"),
        ({"sub": {"id": 1}}, "PSYNC_S2101"),
        ({"exp": True}, "PSYNC_S2101"),
    ],
)
async def test_a_wrong_claim_is_refused_with_its_code(changed: dict[str, Any], code: str) -> None:
    token = jwt.api_jws.encode(json.dumps(claims(**changed)).encode(), SECRET, headers={"kid": "k"})
    assert await code_of(token, verifier(oct_jwk("HS256", kid="k"))) == code


@pytest.mark.parametrize("claim", ["sub", "iat", "exp", "aud"])
async def test_a_missing_claim_is_refused(claim: str) -> None:
    payload = {name: value for name, value in claims().items() if name != claim}
    assert await code_of(sign(payload), verifier(oct_jwk("HS256", kid="k"))) == "PSYNC_S2101"


async def test_clocks_may_differ_by_a_minute_and_a_lifetime_may_be_a_day() -> None:
    checks = verifier(oct_jwk("HS256", kid="k"))
    for changed in ({"exp": NOW_S - 59}, {"iat": NOW_S + 60}, {"exp": NOW_S + 86_400}, {"aud": ["x", "app"]}):
        assert (await checks.verify(sign(claims(**changed)), now_s=NOW_S)).user_id == "user-1"


@pytest.mark.parametrize(("subject", "text"), [(7, "7"), (7.0, "7"), (None, "null"), (True, "true"), ("", "")])
async def test_a_subject_keeps_its_type_and_has_a_text(subject: object, text: str) -> None:
    payload = json.dumps(claims(sub=subject)).encode()
    token = jwt.api_jws.encode(payload, SECRET, headers={"kid": "k"})
    verified = await verifier(oct_jwk("HS256", kid="k")).verify(token, now_s=NOW_S)
    assert (verified.payload["sub"], verified.user_id) == (subject, text)


@pytest.mark.requirement(107, missing="doctor")
async def test_the_answer_names_the_received_audience_and_the_accepted_ones_only_in_development() -> None:
    token = sign(claims(aud="other"))
    for development in (False, True):
        with pytest.raises(AuthError) as caught:
            await verifier(oct_jwk("HS256", kid="k"), development=development).verify(token, now_s=NOW_S)
        assert '"other"' in caught.value.message
        assert ("app" in str(caught.value)) is development


async def test_a_token_in_another_alphabet_or_with_padding_is_refused() -> None:
    checks = verifier(oct_jwk("HS256", kid="k"))
    head, body, signature = sign(claims()).split(".")
    await checks.verify(f"{head}.{body}.{signature}", now_s=NOW_S)
    for changed in (signature + "=", signature[:-1] + "+", signature[:-1] + "/", signature + "\n"):
        assert await code_of(f"{head}.{body}.{changed}", checks) == "PSYNC_S2101"


async def test_a_key_id_that_two_sources_have_is_tried_with_both_keys() -> None:
    sources = [StaticKeys.from_jwks([jwk]) for jwk in (rsa_jwk(kid="k"), oct_jwk("HS256", kid="k"))]
    for token in (sign(claims()), sign(claims(), algorithm="RS256", key=RSA_KEY)):
        assert (await TokenVerifier(sources, ["app"]).verify(token, now_s=NOW_S)).user_id == "user-1"


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "....", "é.b.c", "a" * (TOKEN_BYTES_MAX + 1)])
async def test_what_is_no_token_is_refused_as_malformed(token: str) -> None:
    assert await code_of(token, verifier(oct_jwk("HS256"))) == "PSYNC_S2101"


@pytest.mark.requirement(111, missing="the answer over HTTP")
def test_a_token_comes_with_the_scheme_token_or_bearer() -> None:
    assert [parse_authorization(f"{scheme} a.b.c") for scheme in ("Token", "Bearer")] == ["a.b.c", "a.b.c"]
    for header in (None, "", "a.b.c", "token a", "Bearer  a", "Basic a", "Token a b", "Token a\n"):
        with pytest.raises(TokenMissing) as caught:
            parse_authorization(header)
        assert caught.value.error_code == "PSYNC_S2106"


@pytest.mark.requirement(105, missing="routes and cache headers")
@pytest.mark.requirement(106, missing="the endpoint")
async def test_a_signer_issues_what_a_verifier_accepts_and_publishes_no_private_part() -> None:
    signer = TokenSigner.generate()
    issued = signer.issue("user-1", audience="app", now_s=NOW_S, lifetime_s=60)
    (jwk,) = signer.jwks()["keys"]
    assert set(jwk) == {"kty", "n", "e", "alg", "use", "kid"}
    assert jwt.get_unverified_header(issued.token)["kid"] == jwk["kid"]
    verified = await TokenVerifier(StaticKeys([read_key(jwk)]), ["app"]).verify(issued.token, now_s=NOW_S)
    assert verified.payload == {"sub": "user-1", "aud": "app", "iat": NOW_S, "exp": NOW_S + 60}
    with pytest.raises(ValueError):
        signer.issue("user-1", audience="app", now_s=NOW_S, lifetime_s=86_401)
    with pytest.raises(ValueError):
        signer.issue("user-1", audience="app", now_s=NOW_S, claims={"sub": "root"})


async def test_a_shared_secret_is_never_published() -> None:
    signer = TokenSigner.from_secret(SECRET, kid="k")
    token = signer.issue("user-1", audience="app", now_s=NOW_S).token
    assert signer.jwks() == {"keys": []}
    assert (await TokenVerifier(signer.keys, ["app"]).verify(token, now_s=NOW_S)).user_id == "user-1"
    with pytest.raises(ConfigError):
        TokenSigner.from_secret(b"short", kid="k")


def test_a_signing_key_is_kept_in_a_file_that_only_its_owner_reads(tmp_path: Any) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(ConfigError):
        TokenSigner.from_pem_file(path)
    first = TokenSigner.from_pem_file(path, create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert TokenSigner.from_pem_file(path, create=True).kid == first.kid
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        TokenSigner.from_pem_file(path)
