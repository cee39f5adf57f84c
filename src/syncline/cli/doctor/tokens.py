"""Keys and a user's token: would the service accept it? Configuration reference, 4. No text holds the token."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from syncline.cli.doctor.case import Case
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged
from syncline.cli.exit_codes import CommandFailed
from syncline.errors import ConfigError

__all__ = ["audience", "claims", "form", "keys", "signature", "times"]

FETCH_TIMEOUT_S = 10.0  # seconds to fetch one key set
_OF_TIMES = ("PSYNC_S2103", "PSYNC_S2104", "compare the clocks", "It is not good before", "number of seconds")
_OF_AUDIENCE = "PSYNC_S2105"
_FETCH = (
    "Fetch a new token from the backend; a device does so by itself. `syncline generate token` makes one for a test."
)


def keys(case: Case) -> Verdict:
    """Whether the service has keys, and every JWKS URI answers from here, by the rules of the configuration."""
    from syncline.auth.jwks_uri import masked_uri, parse_jwks_uri
    from syncline.backend.auth.service_config import read_client_auth

    try:
        settings = read_client_auth(case.config_path, environment=case.environment)
    except ConfigError as exc:
        return unjudged(exc.message) if "is not set" in exc.message else fault(exc.message, exc.hint)
    uris = list(settings.uris())
    if not uris and not settings.jwks.keys and not (settings.supabase and settings.supabase_jwt_secret):
        return fault("client_auth has no keys: every token is refused.", "Set client_auth.jwks_uri, or jwks.keys.")
    if not settings.audience and not settings.supabase:
        return fault(
            "[PSYNC_S2105] client_auth.audience is empty: every token is refused.",
            "Set client_auth.audience to a list with the `aud` of your tokens.",
        )
    for uri in uris:
        try:
            problem = asyncio.run(_fetch_problem(uri, settings))
            name = masked_uri(parse_jwks_uri(uri))
        except ConfigError as exc:
            return fault(f"[{exc.error_code}] {exc.message}", exc.hint)
        if problem:
            return fault(
                f"The keys at {name} cannot be fetched: {problem}",
                "The service fetches them from where it runs: try curl there. In a container, localhost is the container itself:"
                " use the host's name, or host.docker.internal with extra_hosts: host-gateway.",
            )
    return healthy(f"Keys in the configuration: {len(settings.jwks.keys)}; key sets: {len(uris)}.")


def form(case: Case) -> Verdict:
    """Whether the token is one at all. What it says is kept for the checks that follow."""
    from syncline.cli.token_report import decoded

    if not case.token:
        return unjudged("no --token was given")
    try:
        case.header, case.claims = decoded(case.token)
    except CommandFailed as exc:
        return fault(exc.message, exc.hint or "Give --token the text that the backend answers, without quotes.")
    return healthy(f"Issuer (iss): {case.claims.get('iss', 'none')}; key id (kid): {case.header.get('kid', 'none')}.")


def signature(case: Case) -> Verdict:
    """Whether a key of the service verifies it."""
    from syncline.cli.token_checks import check_with_service_config

    try:
        checked = asyncio.run(check_with_service_config(case.token, case.config_path, _now_s(case)))
    except ConfigError as exc:
        return unjudged(exc.message)
    if checked.refusal:
        return fault(
            f"The service refuses the signature: {checked.refusal}",
            "Service and backend have to trust the same keys: compare client_auth with the key that signs, and its `kid`.",
        )
    return healthy()


def audience(case: Case) -> Verdict:
    """Whether the token is for this service: both audiences are named."""
    found = [text for text in _findings(case, accepted=_audiences(case)) if _OF_AUDIENCE in text]
    if not found:
        return healthy()
    accepted = ", ".join(_audiences(case))
    fix = f"Let the backend issue tokens with aud = {accepted}, or add the received one to client_auth.audience."
    return fault("\n".join(found), fix)


def claims(case: Case) -> Verdict:
    """Whether the token says who the user is, and all else that is needed."""
    others = [text for text in _findings(case) if not any(part in text for part in _OF_TIMES)]
    if not others:
        return healthy(f"The subject is of the type {type(case.claims.get('sub')).__name__}.")
    return fault("\n".join(others), "The backend has to put sub, aud, iat and exp into each token.")


def times(case: Case) -> Verdict:
    """Whether the token is good now, by the service's clock where that is known, and not for too long."""
    found = [text for text in _findings(case) if any(part in text for part in _OF_TIMES)]
    return fault("\n".join(found), _FETCH) if found else healthy()


def _findings(case: Case, *, accepted: tuple[str, ...] | None = None) -> list[str]:
    from syncline.auth.claims import MAX_LIFETIME_S
    from syncline.auth.supabase import SUPABASE_RULES
    from syncline.cli.token_report import claim_findings

    of_supabase = case.config is not None and case.config.settings.client_auth.supabase
    lifetime_max_s = SUPABASE_RULES.max_lifetime_s if of_supabase else MAX_LIFETIME_S
    return claim_findings(case.claims, _now_s(case), accepted, lifetime_max_s=lifetime_max_s)


def _audiences(case: Case) -> tuple[str, ...]:
    from syncline.auth.supabase import SUPABASE_RULES

    assert case.config is not None
    settings = case.config.settings.client_auth
    return (*settings.audience, *(sorted(SUPABASE_RULES.audiences) if settings.supabase else ()))


def _now_s(case: Case) -> float:
    return time.time() + (case.service_clock_s or 0.0)


async def _fetch_problem(uri: str, settings: Any) -> str:
    """Why the keys behind a URI cannot be had; empty where they can."""
    from syncline.auth.addresses import read_address_rules
    from syncline.auth.jwks_document import JwksFailed, read_key_set
    from syncline.auth.jwks_download import JwksDownload
    from syncline.auth.jwks_uri import parse_jwks_uri

    addresses = read_address_rules(block_local=settings.block_local_jwks, ranges=settings.jwks_reject_ip_ranges)
    download = JwksDownload(parse_jwks_uri(uri), addresses=addresses, timeout_s=FETCH_TIMEOUT_S)
    try:
        return "" if read_key_set(await download()) else "there is no key in it that can be used."
    except JwksFailed as exc:
        return f"[{exc.code}] {exc}."
