"""What HTTP answers mean: bodies of the service, errors of proxies, and the page of something that is no sync service at all."""

from __future__ import annotations

import msgspec

from syncline.client.errors import AuthFailed, ServiceError
from syncline.errors import RemoteProtocolError

__all__ = [
    "ERROR_BODY_BYTES_MAX",
    "RETRY_AFTER_S_MAX",
    "STREAM_PATH",
    "http_error",
    "no_stream",
    "read_number",
]

ERROR_BODY_BYTES_MAX = 64 * 1024  # bytes of an error answer that are read
ERROR_TEXT_CHARACTERS_MAX = 500  # characters of the service's own words that an error shows
RETRY_AFTER_S_MAX = 300.0  # seconds: the longest wait that a peer can ask for with Retry-After
STREAM_PATH = "/sync/stream"


class _ErrorBody(msgspec.Struct):
    code: str = ""
    description: str = ""
    details: str = ""


class _ErrorAnswer(msgspec.Struct):
    error: _ErrorBody


class _DataAnswer(msgspec.Struct):
    data: dict[str, str | int]


def read_number(body: bytes, field: str) -> int:
    """The number under `data.<field>`, as text or not (protocol reference, 5). Raises RemoteProtocolError."""
    try:
        return int(msgspec.json.decode(body, type=_DataAnswer).data[field])
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError) as exc:
        raise RemoteProtocolError(f"The service's answer has no {field} that can be read.") from exc


def http_error(
    *, status: int, body: bytes, endpoint: str, path: str, content_type: str = "", retry_after: str | None = None
) -> ServiceError:
    """An HTTP error as an error of ours, with the service's code where the body has one. HTML and other bodies are not shown."""
    try:
        answer = msgspec.json.decode(body, type=_ErrorAnswer).error
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError):
        answer = None
    text = (answer.description or answer.details)[:ERROR_TEXT_CHARACTERS_MAX] if answer else ""
    message = f"{endpoint} answered HTTP {status}{f': {text}' if text else '.'}"
    code = answer.code or None if answer else None
    hint = _hint(status, endpoint=endpoint, path=path, content_type=content_type, is_service=code is not None)
    kind = AuthFailed if status == 401 else ServiceError
    return kind(message, status_code=status, code=code, hint=hint, retry_after_s=_seconds(retry_after))


def no_stream(*, endpoint: str, content_type: str, wanted: str) -> ServiceError:
    """An answer 200 that is no sync stream: a web page, most likely."""
    return ServiceError(
        f"{endpoint} answered with {content_type or 'no content type'}, not with {wanted}.",
        status_code=200,
        hint=f"The endpoint must be the address of the sync service; {endpoint} is something else, or a login page of the network.",
    )


def _hint(status: int, *, endpoint: str, path: str, content_type: str, is_service: bool) -> str:
    if status == 401:
        return "The token was refused: it is fetched again. Compare its key, audience and lifetime with client_auth."
    if status in (301, 302, 303, 307, 308):
        return "The endpoint redirects: use the address that it redirects to."
    if status in (404, 405):
        return f"The endpoint must be the address of the sync service, not of your backend: {endpoint}{path} does not exist."
    if not is_service and content_type.startswith("text/html"):
        return (
            "The answer is a page of HTML: it is from a proxy or gateway in front of the service, not from the service."
        )
    return ""


def _seconds(header: str | None) -> float | None:
    """Seconds of a Retry-After header; None without one, and for its form as a date, which needs two clocks that agree."""
    if header is None or not (header.strip().isascii() and header.strip().isdecimal()):
        return None
    return min(float(header), RETRY_AFTER_S_MAX)
