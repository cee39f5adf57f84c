"""`syncline keys`: signing keys in a folder, as the backend toolkit uses them (docs/howto/backend-auth.md, "Keys that rotate")."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from syncline.cli.exit_codes import CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import OUTPUT, Output, as_json, as_yaml, say, write_result

if TYPE_CHECKING:
    from syncline.backend.auth.rotating_signer import RotatingSigner
    from syncline.backend.auth.rotation import RotationRules

__all__ = ["keys_generate", "keys_jwks", "keys_list", "keys_rotate"]

DEFAULT_ALGORITHM = "RS256"
DAY_S = 86_400
FOLDER: Path = typer.Option(Path("powersync/keys"), "--folder", help="The folder with the keys.")
ALGORITHM: str = typer.Option(DEFAULT_ALGORITHM, "--algorithm", help="Of the new key: RS256, ES256, EdDSA, HS256.")


def keys_generate(
    folder: Path = FOLDER,
    algorithm: str = ALGORITHM,
    pem: Path | None = typer.Option(None, "--pem", help="Write one key as this PEM file, and no folder."),
    print_secret: bool = typer.Option(
        False, "--print", help="With HS256: write no file; print the entry for client_auth.jwks.keys, with the secret."
    ),
) -> None:
    """Make the first key of a folder.

    Files can be read by their owner alone (mode 0600). What is there is never overwritten.
    """
    with failures_told(), extra_needed("backend"):
        from syncline.auth.signer import TokenSigner

        if print_secret:
            if algorithm != "HS256":
                raise CommandFailed(
                    "--print is for HS256: other keys stay in their files.",
                    hint="syncline keys jwks prints their public parts.",
                )
            typer.echo(
                as_yaml({"client_auth": {"jwks": {"keys": [TokenSigner.generate(algorithm).private_jwk()]}}}), nl=False
            )
        elif pem is not None:
            if pem.exists():
                raise CommandFailed(f"{pem} exists already: it is not overwritten.")
            typer.echo(TokenSigner.from_pem_file(pem, create=True, algorithm=algorithm).kid)
            say(f"A key of {algorithm} is in {pem}.")
        else:
            _first_key(folder, algorithm)


def _first_key(folder: Path, algorithm: str) -> None:
    from syncline.backend.auth.key_folder import KeyFolder
    from syncline.backend.auth.rotating_signer import RotatingSigner

    if KeyFolder(folder).names():
        raise CommandFailed(
            f"There are keys in {folder} already.", hint=f"The next one:  syncline keys rotate --folder {folder}"
        )
    typer.echo(RotatingSigner.open(folder, algorithm=algorithm).kid)
    say(f"A key of {algorithm} is in {folder}. The service gets the public part:  syncline keys jwks --folder {folder}")


def keys_rotate(
    folder: Path = FOLDER,
    algorithm: str | None = typer.Option(None, "--algorithm", help="Of the next key; without, that of the newest one."),
    due: bool = typer.Option(False, "--due", help="Only what is due: the next key in time, ended ones deleted."),
    withdraw: str | None = typer.Option(None, "--withdraw", help="A key that has leaked: forget it at once."),
    rotate_every_days: int = typer.Option(90, "--rotate-every-days", help="How long a key signs, for --due."),
    announce_seconds: int = typer.Option(
        2 * 3600, "--announce-seconds", help="How long a key is published before it signs."
    ),
    token_lifetime_max_seconds: int = typer.Option(
        DAY_S, "--token-lifetime-max-seconds", help="The longest life of a token."
    ),
    output: Output = OUTPUT,
) -> None:
    """Announce the next key: it begins to sign when every verifier knows it.

    Prints all keys and their stages: announced, signing, retiring, ended.
    """
    with failures_told(), extra_needed("backend"):
        from syncline.backend.auth.rotation import RotationRules

        rules = RotationRules(announce_seconds, rotate_every_days * DAY_S, token_lifetime_max_seconds)
        signer = _signer(folder, algorithm, rules)
        if withdraw is not None:
            if withdraw not in signer.stages():
                raise CommandFailed("There is no key of this id.", hint=f"syncline keys list --folder {folder}")
            signer.withdraw(withdraw)
        elif due:
            signer.rotate_if_due()
        else:
            signer.rotate()
        _show(folder, signer, output)


def keys_list(folder: Path = FOLDER, output: Output = OUTPUT) -> None:
    """List the keys of a folder with their stages."""
    with failures_told(), extra_needed("backend"):
        _show(folder, _signer(folder), output)


def keys_jwks(
    folder: Path = FOLDER,
    as_config: bool = typer.Option(False, "--yaml", help="As client_auth of the service's configuration."),
) -> None:
    """Print the public parts of all keys that have not ended, as a JSON Web Key Set."""
    with failures_told(), extra_needed("backend"):
        keys = _signer(folder).jwks()
        if not keys["keys"]:
            say("Warning: there is no public key; shared secrets (HS256) are not published.")
        typer.echo(as_yaml({"client_auth": {"jwks": keys}}) if as_config else as_json(keys), nl=not as_config)


def _signer(folder: Path, algorithm: str | None = None, rules: RotationRules | None = None) -> RotatingSigner:
    """The signer of a folder that has keys; nothing is made. Raises CommandFailed, ConfigError."""
    from syncline.backend.auth.key_folder import KeyFolder
    from syncline.backend.auth.rotating_signer import RotatingSigner

    keys = KeyFolder(folder)
    stored = keys.read()  # what is wrong with a file is told here
    if not stored:
        raise CommandFailed(f"There are no keys in {folder}.", hint=f"syncline keys generate --folder {folder}")
    newest = max(stored, key=lambda key: key.times.signs_from_s)
    return RotatingSigner(keys, algorithm=algorithm or newest.signer.algorithm, rules=rules)


def _show(folder: Path, signer: RotatingSigner, output: Output) -> None:
    from syncline.backend.auth.key_folder import KeyFolder

    stages = signer.stages()
    found = [
        {
            "kid": key.times.kid,
            "stage": stages[key.times.kid].value,
            "algorithm": key.signer.algorithm,
            "signs_from": datetime.fromtimestamp(key.times.signs_from_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for key in sorted(KeyFolder(folder).read(), key=lambda key: (key.times.signs_from_s, key.times.kid))
        if key.times.kid in stages
    ]
    write_result({"keys": found}, output, lambda: "\n".join(map(_line, found)))


def _line(key: dict[str, str]) -> str:
    return f"{key['stage']:<10} {key['algorithm']:<6} signs from {key['signs_from']}  {key['kid']}"
