"""`keys`, `token decode`, and `generate token` with keys of one's own: files and their modes, stages, and who accepts the tokens."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncline.auth.keys import StaticKeys
from syncline.auth.verifier import TokenVerifier
from syncline.backend.auth import ServiceConfigVerifier, read_client_auth
from tests.support.command_line import Outcome, run_command_line

PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k"}


def run(folder: Path, *arguments: str) -> Outcome:
    return run_command_line(folder, *arguments)


def token(folder: Path, *arguments: str) -> str:
    done = run(folder, "generate", "token", "--subject", "alice", *arguments)
    assert done.code == 0, done.err
    return done.out.strip()


def signed_by_service(folder: Path, **client_auth: Any) -> Path:
    """A project whose service has a shared secret; the path of its configuration."""
    printed = run(folder, "keys", "generate", "--algorithm", "HS256", "--print")
    assert printed.code == 0
    config = yaml.safe_load(printed.out)
    config["client_auth"] |= {"audience": ["app"]} | client_auth
    (folder / "powersync").mkdir(exist_ok=True)
    path = folder / "powersync/service.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.requirement(119)
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256"])
async def test_a_folder_s_key_signs_tokens_that_its_public_part_verifies(algorithm: str, tmp_path: Path) -> None:
    made = run(tmp_path, "keys", "generate", "--algorithm", algorithm, "--folder", "keys")
    assert made.code == 0, made.err
    kid = made.out.strip()
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [f"{kid}.json"]
    assert stat.S_IMODE((tmp_path / "keys" / f"{kid}.json").stat().st_mode) == 0o600
    published = run(tmp_path, "keys", "jwks", "--folder", "keys")
    keys = json.loads(published.out)["keys"]
    assert [key["kid"] for key in keys] == [kid]
    assert not PRIVATE & {member for key in keys for member in key}
    signed = token(tmp_path, "--key-folder", "keys", "--audience", "app", "--claim", "org=7", "--claim", "name=Ann")
    verified = await TokenVerifier(StaticKeys.from_jwks(keys), ["app"]).verify(signed, now_s=time.time())
    assert verified.user_id == "alice"
    assert (verified.payload["org"], verified.payload["name"]) == (7, "Ann")
    in_config = yaml.safe_load(run(tmp_path, "keys", "jwks", "--folder", "keys", "--yaml").out)
    assert in_config == {"client_auth": {"jwks": {"keys": keys}}}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    assert run(tmp_path, "keys", "generate", "--folder", "keys", "--algorithm", "ES256").code == 0
    assert run(tmp_path, "keys", "generate", "--pem", "key.pem", "--algorithm", "ES256").code == 0
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for arguments in (("--folder", "keys"), ("--pem", "key.pem")):
        refused = run(tmp_path, "keys", "generate", *arguments)
        assert (refused.code, refused.out) == (1, "")
        assert "already" in refused.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(os.name != "posix", reason="file modes are of POSIX systems")
def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    kid = run(tmp_path, "keys", "generate", "--folder", "keys", "--algorithm", "ES256").out.strip()
    (tmp_path / "keys" / f"{kid}.json").chmod(0o644)
    for command in (("keys", "list"), ("keys", "rotate"), ("keys", "jwks")):
        refused = run(tmp_path, *command, "--folder", "keys")
        assert (refused.code, refused.out) == (1, "")
        assert "chmod 600" in refused.err


def stages(done: Outcome) -> list[str]:
    assert done.code == 0, done.err
    return [key["stage"] for key in json.loads(done.out)["keys"]]


def test_keys_go_through_their_stages(tmp_path: Path) -> None:
    at = ("--folder", "keys", "--output", "json")
    first = run(tmp_path, "keys", "generate", "--folder", "keys", "--algorithm", "ES256").out.strip()
    assert stages(run(tmp_path, "keys", "rotate", *at, "--announce-seconds", "1")) == ["signing", "announced"]
    assert stages(run(tmp_path, "keys", "rotate", *at)) == ["signing", "announced"]  # there is a next one already
    listed = json.loads(run(tmp_path, "keys", "list", *at).out)["keys"]
    assert [key["algorithm"] for key in listed] == ["ES256", "ES256"]  # as the newest
    for number, key in enumerate(listed):  # as if the rotation had been long ago
        path = tmp_path / "keys" / f"{key['kid']}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"signs_from_s": 1_000 + number}))
    assert stages(run(tmp_path, "keys", "list", *at)) == ["ended", "signing"]
    keys = json.loads(run(tmp_path, "keys", "jwks", "--folder", "keys").out)["keys"]
    assert first not in [key["kid"] for key in keys]
    assert stages(run(tmp_path, "keys", "rotate", "--due", *at)) == ["signing", "announced"]
    second = str(listed[1]["kid"])
    withdrawn = run(tmp_path, "keys", "rotate", "--withdraw", second, *at)
    assert stages(withdrawn) == ["signing"]  # the announced one, at once
    assert second not in withdrawn.out
    text = run(tmp_path, "keys", "list", "--folder", "keys").out
    assert text.startswith("signing    ES256  signs from 20")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("keys", "list", "--folder", "none"), "There are no keys in none."),
        (("keys", "rotate", "--folder", "none"), "There are no keys in none."),
        (("keys", "generate", "--algorithm", "XX", "--folder", "none"), "RS256, ES256, EdDSA, HS256"),
        (("keys", "generate", "--print"), "--print is for HS256"),
        (("token", "decode", "abc"), "no JSON Web Token"),
        (("token", "decode", "a.b.c", "--service-config", "x", "--jwks", "y"), "exclude each other"),
        (("generate", "token", "--subject", "u", "--claim", "x", "--key-folder", "none"), "write name=value"),
        (("generate", "token", "--subject", "u", "--claim", "sub=x", "--key-folder", "none"), "Use --subject."),
        (("generate", "token", "--subject", "u", "--key-folder", "none"), "There are no keys in none."),
        (("generate", "token", "--subject", "u", "--key-file", "none.pem"), "none.pem cannot be read"),
    ],
)
def test_a_wrong_line_is_explained(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = run(tmp_path, *arguments)
    assert (done.code, done.out) == (1, "")
    assert says in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_token_needs_somebody_whom_it_is_for(tmp_path: Path) -> None:
    assert run(tmp_path, "keys", "generate", "--folder", "keys", "--algorithm", "ES256").code == 0
    refused = run(tmp_path, "generate", "token", "--subject", "u", "--key-folder", "keys")
    assert refused.code == 1
    assert "Give --audience" in refused.err


@pytest.mark.requirement(119, 200)
async def test_the_service_of_a_configuration_accepts_a_token_made_with_it(tmp_path: Path) -> None:
    path = signed_by_service(tmp_path)
    document = json.loads(token(tmp_path, "--json", "--api-url", "http://127.0.0.1:8080"))
    assert document["claims"]["aud"] == ["http://127.0.0.1:8080", "app"]
    assert set(document) == {"token", "header", "claims"}
    verifier = ServiceConfigVerifier(read_client_auth(path))
    assert (await verifier.verify(document["token"], now_s=time.time())).user_id == "alice"
    await verifier.close()
    long = run(tmp_path, "generate", "token", "--subject", "u", "--expires-in-seconds", "604800")
    assert len(long.out.split()) == 1
    assert "more than 86400 seconds" in long.err


@pytest.mark.requirement(209)
def test_decoding_says_that_nothing_was_checked_unless_keys_are_given(tmp_path: Path) -> None:
    path = signed_by_service(tmp_path)
    signed = token(tmp_path)
    plain = run(tmp_path, "token", "decode", signed)
    assert plain.code == 0
    assert "Signature not checked." in plain.out
    assert "--service-config powersync/service.yaml" in plain.out
    assert '"sub": "alice"' in plain.out
    assert "in 11 hours 59 minutes" in plain.out or "in 12 hours" in plain.out
    checked = run(tmp_path, "token", "decode", f"Bearer {signed}", "--service-config", str(path))
    assert (checked.code, "Signature verified." in checked.out) == (0, True)
    header, body, signature = signed.split(".")
    forged = base64.urlsafe_b64encode(b'{"sub":"eve"}').rstrip(b"=").decode()
    refused = run(tmp_path, "token", "decode", f"{header}.{forged}.{signature}", "--service-config", str(path))
    assert refused.code == 1
    assert "Signature not verified." in refused.out
    assert 'no claim "exp"' in refused.out  # all that is wrong, not the first alone
    assert signature not in refused.out
    other = run(tmp_path, "token", "decode", f"{header}.{body}.{signature}", "--audience", "another")
    assert (other.code, "[PSYNC_S2105]" in other.out) == (1, True)


def test_a_key_set_checks_a_token_and_the_result_can_be_read_by_programs(tmp_path: Path) -> None:
    assert run(tmp_path, "keys", "generate", "--folder", "keys", "--algorithm", "ES256").code == 0
    (tmp_path / "jwks.json").write_text(run(tmp_path, "keys", "jwks", "--folder", "keys").out)
    signed = token(tmp_path, "--key-folder", "keys", "--audience", "app", "--expires-in-seconds", "-120")
    done = run(tmp_path, "token", "decode", signed, "--jwks", "jwks.json", "--audience", "app", "--output", "json")
    assert done.code == 1
    found = json.loads(done.out)
    assert found["signature"] == "verified"
    [problem] = found["problems"]
    assert "[PSYNC_S2103]" in problem
    (tmp_path / "other.json").write_text('{"keys": []}')
    unknown = run(tmp_path, "token", "decode", signed, "--jwks", "other.json", "--output", "yaml")
    assert yaml.safe_load(unknown.out)["signature"] == "not verified"
    (tmp_path / "other.json").write_text("[]")
    refused = run(tmp_path, "token", "decode", signed, "--jwks", "other.json")
    assert (refused.code, "is no key set" in refused.err) == (1, True)


def test_a_key_set_is_fetched_from_an_address(tmp_path: Path) -> None:
    assert run(tmp_path, "keys", "generate", "--folder", "keys", "--algorithm", "EdDSA").code == 0
    (tmp_path / "public").mkdir()
    (tmp_path / "public/jwks.json").write_text(run(tmp_path, "keys", "jwks", "--folder", "keys").out)
    signed = token(tmp_path, "--key-folder", "keys", "--audience", "app")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=str(tmp_path / "public"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found = run(tmp_path, "token", "decode", signed, "--jwks", f"http://127.0.0.1:{server.server_port}/jwks.json")
        gone = run(tmp_path, "token", "decode", signed, "--jwks", f"http://127.0.0.1:{server.server_port}/gone.json")
        server.shutdown()
        thread.join()
    assert (found.code, "Signature verified." in found.out) == (0, True)
    assert (gone.code, "PSYNC_S2204" in gone.out) == (1, True)


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Nothing: the tests' output is read by people."""
