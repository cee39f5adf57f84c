"""Requests of `doctor`, with the standard library: each connection is its own, and every wait has an end."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from syncline import __version__

__all__ = ["Answer", "NoAnswer", "Open", "ask", "opened"]

ANSWER_BYTES_MAX = 64 * 1024  # bytes of an answer that are read: an error's, or a probe's
LINE_BYTES_MAX = 1024 * 1024  # bytes of a line of a stream: a checkpoint of ten thousand buckets


class NoAnswer(Exception):
    """No answer came, or not all of it; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `headers` have lowered names; `repeated` are those that came more than once."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    repeated: frozenset[str] = frozenset()

    @property
    def error(self) -> tuple[str, str]:
        """Code and description of a sync service's error; both empty where the answer is none of it."""
        try:
            document: Any = json.loads(self.body)
        except ValueError:
            return "", ""
        error: Any = cast("dict[str, Any]", document).get("error") if isinstance(document, dict) else None
        if not isinstance(error, dict):
            return "", ""
        fields = cast("dict[str, Any]", error)
        return str(fields.get("code", "")), str(fields.get("description", ""))


class Open:
    """An answer whose body is still coming."""

    def __init__(self, reply: http.client.HTTPResponse) -> None:
        self._reply = reply
        names = [name.lower() for name, _ in reply.getheaders()]
        headers = {name.lower(): value for name, value in reply.getheaders()}
        self.head = Answer(reply.status, headers, repeated=frozenset(name for name in names if names.count(name) > 1))

    def whole(self) -> Answer:
        """The answer with its body. Raises NoAnswer."""
        with _told():
            body = self._reply.read(ANSWER_BYTES_MAX)
        return Answer(self.head.status, self.head.headers, body, self.head.repeated)

    def line(self) -> bytes:
        """The next line; empty at the end. Raises NoAnswer."""
        with _told():
            return self._reply.readline(LINE_BYTES_MAX)


def ask(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, timeout_s: float
) -> Answer:
    """One request and its whole answer. Raises NoAnswer."""
    with opened(method, url, headers=headers, body=body, timeout_s=timeout_s) as answer:
        # Of an upgrade there is a head and no body.
        return answer.head if answer.head.status == http.client.SWITCHING_PROTOCOLS else answer.whole()


@contextmanager
def opened(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None, timeout_s: float
) -> Generator[Open]:
    """One request; the body of its answer is read piece by piece. `timeout_s` is for each wait. Raises NoAnswer."""
    try:
        parts = urlsplit(url)
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}[parts.scheme]
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    except (KeyError, ValueError, http.client.HTTPException) as exc:
        raise NoAnswer("this is no address, write http://… or https://…") from exc
    try:
        with _told():
            path = parts.path or "/"
            sent = {"User-Agent": f"syncline/{__version__} doctor", "Accept-Encoding": "identity", **(headers or {})}
            connection.request(method, path, body, sent)
            reply = connection.getresponse()
        try:
            yield Open(reply)
        finally:
            reply.close()
    finally:
        connection.close()


@contextmanager
def _told() -> Generator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise NoAnswer("nothing came in time") from exc
    except ssl.SSLError as exc:
        raise NoAnswer(f"TLS failed: {exc.reason or exc}") from exc
    except OSError as exc:
        raise NoAnswer(exc.strerror or str(exc) or type(exc).__name__) from exc
    except (http.client.HTTPException, ValueError, UnicodeError) as exc:
        raise NoAnswer(f"the answer is no HTTP ({type(exc).__name__})") from exc
