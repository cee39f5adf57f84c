"""Which key a token is verified with, and what is said when none does."""

from __future__ import annotations

import hmac
import json
import logging
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from syncline.auth.claims import ClaimRules
from syncline.auth.jwk import read_key
from syncline.auth.keys import StaticKeys
from syncline.auth.revocation import RevocationList
from syncline.auth.verifier import UNKNOWN_KEY_LOG_INTERVAL_S, TokenVerifier
from syncline.errors import AuthError, TokenInvalid
from tests.unit.auth.issuer import NOW_S
from tests.unit.auth.tokens import (
    ED_KEYS,
    MATRIX,
    RSA_KEY,
    base64url,
    claims,
    code_of,
    oct_jwk,
    rsa_jwk,
    sign,
    sign_bytes,
    unsigned,
    verifier,
)


@pytest.mark.requirement(104, missing="through JWKS")
@pytest.mark.parametrize(("algorithm", "key", "jwk"), MATRIX)
@pytest.mark.parametrize("kid", ["k", None])
async def test_every_algorithm_of_the_matrix_is_verified_with_its_key(
    algorithm: str, key: Any, jwk: dict[str, Any], kid: str | None
) -> None:
    checks = TokenVerifier(StaticKeys([read_key({**jwk, "kid": kid})]), ["app"])
    token = sign(claims(), algorithm=algorithm, key=key, kid=kid)
    verified = await checks.verify(token, now_s=NOW_S)
    assert (verified.user_id, verified.expires_at_s, verified.payload["aud"]) == ("user-1", NOW_S + 300, "app")
    head, body, signature = token.split(".")
    forged = base64url(json.dumps(claims(sub="root")).encode())
    for changed in (f"{head}.{body}.{'A' * len(signature)}", f"{head}.{body}.", f"{head}.{forged}.{signature}"):
        with pytest.raises(TokenInvalid, match="Signature verification failed"):
            await checks.verify(changed, now_s=NOW_S)


@pytest.mark.parametrize(("algorithm", "key", "jwk"), MATRIX)
async def test_an_algorithm_of_its_family_that_the_key_does_not_have_is_refused(
    algorithm: str, key: Any, jwk: dict[str, Any]
) -> None:
    """`alg` of the key decides; only RSA keys may leave it open, and only for RS*."""
    named = verifier({**jwk, "kid": "k", **({"alg": algorithm} if jwk["kty"] == "RSA" else {})})
    for other, _, _ in MATRIX:
        if other != algorithm:
            token = unsigned({"alg": other, "kid": "k"}, claims()) + "AAAA"
            with pytest.raises(TokenInvalid, match="algorithm does not fit its key"):
                await named.verify(token, now_s=NOW_S)


@pytest.mark.requirement(108)
async def test_a_token_is_verified_with_the_key_of_its_kid_only_and_a_wildcard_serves_the_rest() -> None:
    named, wildcard = rsa_jwk(kid="k", alg="RS256"), oct_jwk("HS256")
    assert await code_of(sign(claims(), kid="k"), verifier(named, wildcard)) == "PSYNC_S2101"
    assert await code_of(sign(claims(), kid="other"), verifier(named)) == "PSYNC_S2101"
    assert await code_of(sign(claims(), kid=None), verifier(oct_jwk("HS256", kid="k"))) == "PSYNC_S2101"
    for kid in (None, "other", "K", "k "):
        assert (await verifier(named, wildcard).verify(sign(claims(), kid=kid), now_s=NOW_S)).user_id == "user-1"


async def test_every_wildcard_of_the_family_is_tried() -> None:
    jwks = [{"kty": "oct", "alg": "HS256", "k": base64url(bytes([index]) * 64)} for index in range(5)]
    checks = verifier(*jwks, oct_jwk("HS256"), oct_jwk("HS512"))
    assert (await checks.verify(sign(claims(), kid=None), now_s=NOW_S)).user_id == "user-1"
    assert await code_of(sign(claims(), kid=None, algorithm="HS384"), checks) == "PSYNC_S2101"


@pytest.mark.parametrize("key", [RSA_KEY, ED_KEYS[0]], ids=["RSA", "Ed25519"])
@pytest.mark.parametrize("named", [True, False])
async def test_a_public_key_used_as_a_secret_is_refused(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, named: bool
) -> None:
    public = key.public_key()
    jwk = next(jwk for _, candidate, jwk in MATRIX if candidate is key)
    checks = TokenVerifier(StaticKeys([read_key({**jwk, "kid": "k" if named else None})]), ["app"])
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(jwk).encode(),
        str(jwk.get("x") or jwk.get("n")).encode(),
    ]
    for algorithm, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512")):
        signed = unsigned({"alg": algorithm, "kid": "k"}, claims()).removesuffix(".")
        for secret in forms:
            signature = base64url(hmac.digest(secret, signed.encode(), digest))
            assert await code_of(f"{signed}.{signature}", checks) == "PSYNC_S2101"


@pytest.mark.requirement(117)
async def test_a_key_id_that_two_sources_have_is_tried_with_both_keys() -> None:
    sources = [StaticKeys.from_jwks([jwk]) for jwk in (rsa_jwk(kid="k"), oct_jwk("HS256", kid="k"))]
    for token in (sign(claims()), sign(claims(), algorithm="RS256", key=RSA_KEY)):
        assert (await TokenVerifier(sources, ["app"]).verify(token, now_s=NOW_S)).user_id == "user-1"


async def test_without_keys_or_without_audiences_everybody_is_refused() -> None:
    assert await code_of(sign(claims()), TokenVerifier([], ["app"])) == "PSYNC_S2101"
    assert await code_of(sign(claims()), TokenVerifier(StaticKeys.from_jwks([oct_jwk("HS256")]), [])) == "PSYNC_S2105"


async def test_a_key_may_have_audiences_and_a_lifetime_of_its_own() -> None:
    key = read_key(oct_jwk("HS256"), rules=ClaimRules(frozenset({"theirs"}), max_lifetime_s=100))
    checks = TokenVerifier(StaticKeys([key]), ["app"])
    assert await code_of(sign(claims()), checks) == "PSYNC_S2105"
    assert await code_of(sign(claims(aud="theirs")), checks) == "PSYNC_S2104"
    accepted = sign(claims(aud=["theirs"], exp=NOW_S + 100))
    assert (await checks.verify(accepted, now_s=NOW_S)).user_id == "user-1"


def sign_with_subject(subject: object) -> str:
    return sign_bytes(json.dumps(claims(sub=subject)).encode())


async def test_a_revoked_user_is_refused_until_the_revocation_ends() -> None:
    revocations = RevocationList()
    checks = verifier(oct_jwk("HS256", kid="k"), revocations=revocations)
    revocations.revoke("user-1", NOW_S + 10)
    revocations.revoke("7", NOW_S + 10)
    for subject in ("user-1", 7):
        token = sign_with_subject(subject)
        with pytest.raises(TokenInvalid, match="has been revoked") as caught:
            await checks.verify(token, now_s=NOW_S)
        assert (caught.value.error_code, caught.value.status) == ("PSYNC_S2101", 401)
    assert (await checks.verify(sign_with_subject("user-2"), now_s=NOW_S)).user_id == "user-2"
    assert (await checks.verify(sign_with_subject("user-1"), now_s=NOW_S + 10)).user_id == "user-1"


async def test_that_a_user_is_revoked_is_told_to_nobody_without_a_good_token() -> None:
    revocations = RevocationList()
    revocations.revoke("user-1", NOW_S + 10)
    checks = verifier(oct_jwk("HS256", kid="k"), revocations=revocations)
    forged = sign(claims()).rpartition(".")[0] + "." + "A" * 43
    with pytest.raises(TokenInvalid, match="Signature"):
        await checks.verify(forged, now_s=NOW_S)


async def test_known_key_ids_are_in_the_log_and_in_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="syncline.auth")
    checks = verifier(rsa_jwk(kid="known-key"), oct_jwk("HS256"))
    token = unsigned({"alg": "RS256", "kid": "line\nbreak" * 50}, claims()) + "AAAA"
    for after_s in (0, UNKNOWN_KEY_LOG_INTERVAL_S - 1, UNKNOWN_KEY_LOG_INTERVAL_S):
        with pytest.raises(AuthError) as caught:
            await checks.verify(token, now_s=NOW_S + after_s)
        assert "known-key" not in str(caught.value)
        assert "known-key" not in str(vars(caught.value))
    assert len(caplog.records) == 2  # strangers can cause one line in a while, not one each
    fields = vars(caplog.records[0])
    assert (fields["known"], fields["keys_without_id"], fields["algorithm"]) == ('["known-key"]', 1, "RS256")
    assert len(fields["received"]) < 120
    assert "\n" not in fields["received"]
