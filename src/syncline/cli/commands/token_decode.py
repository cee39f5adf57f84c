"""`syncline token decode`: what a token says, and whether a service accepts it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from syncline.cli.exit_codes import EXIT_FAILED, CommandFailed, failures_told
from syncline.cli.extras import extra_needed
from syncline.cli.output import OUTPUT, Output, as_json, write_result
from syncline.cli.project import DIRECTORY, SERVICE_FILE

if TYPE_CHECKING:
    from syncline.cli.token_checks import TokenCheck

__all__ = ["token_decode"]

NOT_CHECKED = "not checked"


def token_decode(
    token: str = typer.Argument("-", help="The token; - reads it from standard input.", show_default=False),
    service_config: Path | None = typer.Option(
        None, "--service-config", help="Check it as the service of this file does."
    ),
    jwks: str | None = typer.Option(
        None, "--jwks", help="Check the signature with this key set: a file, or an address."
    ),
    audience: list[str] = typer.Option([], "--audience", help="The audiences that are accepted."),
    directory: str = DIRECTORY,
    output: Output = OUTPUT,
) -> None:
    """Show header, claims and times of a token, and what is wrong with it.

    The signature is checked only with --service-config or --jwks; without them the result says that it was not. Ends with 1 where
    something is wrong.
    """
    with failures_told(), extra_needed("backend"):
        if service_config is not None and jwks is not None:
            raise CommandFailed("--service-config and --jwks exclude each other.")
        text = _read(token)
        result = _report(text, service_config, jwks, audience)
        hint = _hint(directory) if result["signature"] == NOT_CHECKED else ""
        write_result(result, output, lambda: _text(result, hint))
    raise typer.Exit(EXIT_FAILED if result["problems"] else 0)


def _read(token: str) -> str:
    """The token without what people paste with it."""
    from syncline.auth.token_parts import TOKEN_BYTES_MAX

    text = (sys.stdin.read(TOKEN_BYTES_MAX + 100) if token == "-" else token).strip()  # noqa: S105 - no token
    return text.split()[-1] if text.lower().startswith(("bearer ", "token ")) else text


def _report(token: str, service_config: Path | None, jwks: str | None, audiences: list[str]) -> dict[str, Any]:
    from syncline.cli.token_report import claim_findings, decoded, times_in_words

    header, claims = decoded(token)
    now_s = time.time()
    check = _check(token, service_config, jwks, audiences, now_s)
    problems: list[str] = []
    signature = NOT_CHECKED
    if check is None:
        problems += claim_findings(claims, now_s, audiences or None)
    else:
        signature = "not verified" if check.refusal else "verified"
        problems += [check.refusal] if check.refusal else []
        problems += claim_findings(claims, now_s, check.audiences, lifetime_max_s=check.lifetime_max_s)
    return {
        "header": header,
        "claims": claims,
        "times": times_in_words(claims, now_s),
        "signature": signature,
        "problems": problems,
    }


def _check(
    token: str, service_config: Path | None, jwks: str | None, audiences: list[str], now_s: float
) -> TokenCheck | None:
    """What keys say of the signature; None where none were given."""
    import asyncio

    from syncline.cli.token_checks import check_with_key_set, check_with_service_config

    if service_config is not None:
        return asyncio.run(check_with_service_config(token, service_config, now_s))
    return None if jwks is None else asyncio.run(check_with_key_set(token, jwks, now_s, audiences))


def _hint(directory: str) -> str:
    path = Path(directory) / SERVICE_FILE
    return f"Check it with the project's keys:  --service-config {path}" if path.is_file() else "Check it with --jwks."


def _text(result: dict[str, Any], hint: str) -> str:
    times = [f"{words}: {text}" for words, text in result["times"].items()]
    signature = f"Signature {result['signature']}. {hint}".rstrip()
    lines = [
        "Header",
        as_json(result["header"]),
        "Claims",
        as_json(result["claims"]),
        *times,
        signature,
    ]
    if result["problems"]:
        return "\n".join([*lines, "Problems:", *(f"  - {problem}" for problem in result["problems"])])
    return "\n".join([*lines, "Nothing is wrong with its claims."])
