"""Tokens that we issue ourselves: accepted by a verifier, and without a private part in public."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from syncline.auth.jwk import read_key
from syncline.auth.keys import StaticKeys
from syncline.auth.signer import TokenSigner
from syncline.auth.verifier import TokenVerifier
from syncline.errors import ConfigError
from tests.unit.auth.issuer import NOW_S
from tests.unit.auth.tokens import SECRET


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


def test_a_signing_key_is_kept_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(ConfigError):
        TokenSigner.from_pem_file(path)
    first = TokenSigner.from_pem_file(path, create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert TokenSigner.from_pem_file(path, create=True).kid == first.kid
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        TokenSigner.from_pem_file(path)
