"""What devices are given: does the stream come through whole, line by line, with what browsers need? Protocol reference, 1, 4 and 6."""

from __future__ import annotations

import base64
import os

from syncline.cli.doctor.case import Case
from syncline.cli.doctor.http import Answer, NoAnswer, ask, opened
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged

__all__ = ["STREAM", "cors", "endpoint", "lines", "stream_headers", "web_socket"]

STREAM = "/sync/stream"
TIMEOUT_S = 10.0  # seconds for an answer that is not a stream
ORIGIN = "https://app.example.com"  # of a page that a browser would have
LINES = "application/x-ndjson"
_HEADERS = {"Content-Type": "application/json", "Accept": LINES}
_BUFFERING = """\
Switch buffering off for /sync/stream in the proxy. nginx:
  location /sync/ {
    proxy_pass http://127.0.0.1:8080;
    proxy_http_version 1.1;
    proxy_buffering off;
    gzip off;
    proxy_read_timeout 60s;
  }"""
_UPGRADE = """\
Let the proxy pass the upgrade on. nginx, in the same location:
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "upgrade";"""


def endpoint(case: Case) -> Verdict:
    """Whether a sync service answers at the endpoint: without a token it has to say PSYNC_S2106."""
    if not case.endpoint:
        return unjudged("nothing names the endpoint: --endpoint does, or --api-url")
    try:
        answer = ask("POST", f"{case.endpoint}{STREAM}", headers=_HEADERS, body=b"{}", timeout_s=TIMEOUT_S)
    except NoAnswer as exc:
        return fault(
            f"The endpoint {case.endpoint} cannot be reached: {exc}.",
            "Is the name right, does it resolve from here, and does the proxy's certificate fit it?",
        )
    if answer.error[0].startswith("PSYNC_"):
        return healthy()
    return fault(
        f"The endpoint {case.endpoint} answers HTTP {answer.status}, and is no sync service.",
        "Give devices the address of the sync service, not of the app's backend; a proxy has to pass /sync/stream on as it is.",
    )


def lines(case: Case) -> Verdict:
    """Whether the token opens a stream, and its first line comes in time."""
    if not case.token:
        return unjudged("no --token was given")
    problem, answer = _first_line(case.endpoint, case)
    if not problem:
        encoding = answer.headers.get("content-encoding", "") if answer else ""
        return healthy(*([f"A proxy compresses the stream ({encoding}), unasked."] if encoding else []))
    if answer is not None and answer.status != 200:
        code, description = answer.error
        hint = (
            "`syncline status` says how replication stands." if answer.status >= 500 else "See the checks of the token."
        )
        return fault(f"The stream is refused with HTTP {answer.status}: [{code}] {description}", hint)
    if case.endpoint != case.service_url and not _first_line(case.service_url, case)[0]:
        return fault(f"{problem} The service itself sends it at once: a proxy before it holds lines back.", _BUFFERING)
    return fault(problem, f"A proxy may hold lines back, or the service is busy.\n{_BUFFERING}")


def web_socket(case: Case) -> Verdict:
    """Whether the upgrade of a WebSocket comes through, as the SDKs that use it ask for it."""
    key = base64.b64encode(os.urandom(16)).decode()
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
    }
    try:
        answer = ask("GET", f"{case.endpoint}{STREAM}", headers=headers, timeout_s=TIMEOUT_S)
    except NoAnswer as exc:
        return fault(f"The upgrade to a WebSocket has no answer: {exc}.", _UPGRADE)
    if answer.status == 101:
        return healthy()
    return fault(f"The upgrade to a WebSocket is answered with HTTP {answer.status}: a proxy drops it.", _UPGRADE)


def cors(case: Case) -> Verdict:
    """Whether a browser's preflight is answered so that pages of any origin may open streams."""
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    fix = "The service answers preflights itself: let the proxy pass OPTIONS on, and add or remove no Access-Control headers."
    try:
        answer = ask("OPTIONS", f"{case.endpoint}{STREAM}", headers=headers, timeout_s=TIMEOUT_S)
    except NoAnswer as exc:
        return fault(f"A browser's preflight has no answer: {exc}.", fix)
    allowed = answer.headers.get("access-control-allow-origin", "")
    if "access-control-allow-origin" in answer.repeated or "," in allowed:
        return fault("Access-Control-Allow-Origin comes twice: browsers refuse the answer.", fix)
    names = {name.strip().lower() for name in answer.headers.get("access-control-allow-headers", "").split(",")}
    if answer.status >= 300 or allowed not in ("*", ORIGIN) or not ({"authorization", "*"} & names):
        return fault(
            f"A browser's preflight is refused: HTTP {answer.status}, allowed origin {allowed or 'none'}.", fix
        )
    return healthy()


def stream_headers(case: Case) -> dict[str, str]:
    """Of a request for a stream of lines, with the user's token."""
    return {**_HEADERS, "Authorization": f"Token {case.token}"}


def _first_line(url: str, case: Case) -> tuple[str, Answer | None]:
    """Why there is no first line, and the answer as far as it came; an empty text where there is one."""
    try:
        with opened(
            "POST", f"{url}{STREAM}", headers=stream_headers(case), body=b"{}", timeout_s=case.wait_s
        ) as answer:
            if answer.head.status != 200:
                return "The stream is refused.", answer.whole()
            try:
                line = answer.line()
            except NoAnswer as exc:
                return f"The stream at {url} was opened, and no line came within {case.wait_s:g} s: {exc}.", answer.head
            return ("", answer.head) if line else (f"The stream at {url} ended before its first line.", answer.head)
    except NoAnswer as exc:
        return f"The stream at {url} has no answer within {case.wait_s:g} s: {exc}.", None
