"""`syncline generate token`: a token for development and for tests, signed with the service's own secret or a key of yours."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import as_json, say
from syncline.cli.project import API_URL, DIRECTORY, admin_address, open_project

if TYPE_CHECKING:
    from syncline.backend.auth.service_config import ClientAuth
    from syncline.cli.signing import SigningKey

__all__ = ["generate_token", "token_for"]

LIFETIME_S = 43_200  # seconds that a token is good for
ISSUER = "powersync-cli"  # as the field's own command line says
_OWN = {"sub": "--subject", "aud": "--audience", "iat": None, "exp": "--expires-in-seconds"}


def generate_token(
    subject: str = typer.Option(..., "--subject", help="The user's id: sub of the token."),
    expires_in_seconds: int = typer.Option(LIFETIME_S, "--expires-in-seconds", help="A service takes a day at most."),
    kid: str | None = typer.Option(None, "--kid", help="Sign with this key; without, with the first."),
    claim: list[str] = typer.Option([], "--claim", help="name=value, again and again: value is JSON, or else a text."),
    audience: list[str] = typer.Option([], "--audience", help="aud, instead of the service's address and audiences."),
    key_folder: Path | None = typer.Option(
        None, "--key-folder", help="Sign with a key of this folder (syncline keys)."
    ),
    key_file: Path | None = typer.Option(None, "--key-file", help="Sign with the private key of this PEM file."),
    as_document: bool = typer.Option(False, "--json", help="Print header and claims too, as JSON."),
    directory: str = DIRECTORY,
    api_url: str | None = API_URL,
) -> None:
    """Print a token for a user.

    It is signed with a shared secret of client_auth.jwks.keys in the project's service.yaml, or with a key of --key-folder or
    --key-file, whose public key the service has to know.
    """
    with failures_told(), extra_needed("backend"):
        own_claims = _claims(claim)
        settings = _client_auth(directory, needed=not (key_folder or key_file))
        key = _key(settings, kid, key_folder, key_file)
        now_s = int(time.time())
        claims: dict[str, Any] = {
            "sub": subject,
            "aud": list(audience) or _audiences(directory, api_url, settings),
            "iss": ISSUER,
            "iat": now_s,
            "exp": now_s + expires_in_seconds,
            **own_claims,
        }
        _print(key, claims, as_document=as_document)
        _warn(expires_in_seconds)


def token_for(subject: str, claims: list[str], *, lifetime_s: int, directory: str, api_url: str | None) -> str:
    """A token for a user as this command prints one, signed with the project's shared secret. Raises CommandFailed.

    `claims` are texts name=value.
    """
    with extra_needed("backend"):
        from syncline.cli.signing import signed_token

        own_claims = _claims(claims)
        settings = _client_auth(directory, needed=True)
        now_s = int(time.time())
        told = {"sub": subject, "aud": _audiences(directory, api_url, settings), "iss": ISSUER, "iat": now_s}
        return signed_token(_key(settings, None, None, None), {**told, "exp": now_s + lifetime_s, **own_claims})


def _client_auth(directory: str, *, needed: bool) -> ClientAuth:
    """What the service's configuration says of keys and audiences; nothing where it is not needed and there is no project."""
    from syncline.backend.auth.service_config import ClientAuth, read_client_auth

    if not needed and not Path(directory).is_dir():
        return ClientAuth()
    path = open_project(directory).service_path
    if not path.is_file():
        return ClientAuth()
    return read_client_auth(path)


def _key(settings: ClientAuth, kid: str | None, folder: Path | None, file: Path | None) -> SigningKey:
    from syncline.cli.signing import key_of_file, key_of_folder, key_of_service

    if folder and file:
        raise CommandFailed("--key-folder and --key-file exclude each other.")
    if folder:
        return key_of_folder(folder, kid)
    return key_of_file(file) if file else key_of_service(settings.jwks.keys, kid)


def _audiences(directory: str, api_url: str | None, settings: ClientAuth) -> list[str]:
    """The service's address, and the audiences of its configuration. Raises CommandFailed where there is neither."""
    try:
        # The token for the admin API is not used: with one, the address alone can be missing.
        address = [admin_address(directory, api_url, {**os.environ, "PS_ADMIN_TOKEN": "-"}).url]
    except CommandFailed:
        if not settings.audience:
            raise CommandFailed(
                "Nothing says for whom the token is.", hint="Give --audience, or --api-url, or link the project."
            ) from None
        address = []
    return list(dict.fromkeys([*address, *settings.audience]))


def _claims(texts: list[str]) -> dict[str, Any]:
    """Claims of `--claim`. Raises CommandFailed for one of another form, and for those that have options of their own."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandFailed(f"--claim {text}: write name=value.")
        if name in _OWN:
            raise CommandFailed(f"--claim cannot set {name}.", hint=f"Use {_OWN[name]}." if _OWN[name] else "")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _print(key: SigningKey, claims: dict[str, Any], *, as_document: bool) -> None:
    from syncline.cli.signing import signed_token

    token = signed_token(key, claims)
    if as_document:
        header = {"alg": key.algorithm} | ({} if key.kid is None else {"kid": key.kid})
        typer.echo(as_json({"token": token, "header": header, "claims": claims}))
    else:
        typer.echo(token)


def _warn(lifetime_s: int) -> None:
    from syncline.auth.claims import MAX_LIFETIME_S

    if lifetime_s > MAX_LIFETIME_S:
        say(f"Warning: a service refuses tokens that are good for more than {MAX_LIFETIME_S} seconds.")
    elif lifetime_s <= 0:
        say("Warning: the token has ended already.")
