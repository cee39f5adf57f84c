"""Whether a stream on which nothing happens stays open: the service sends a line every 20 seconds (protocol reference, 2.7)."""

from __future__ import annotations

import time

from syncline.cli.doctor.case import Case
from syncline.cli.doctor.endpoint import STREAM, stream_headers
from syncline.cli.doctor.http import NoAnswer, opened
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged

__all__ = ["idle_stream"]

KEEPALIVE_WAIT_S = 30.0  # seconds of silence that are waited for: half as much again as between two keepalives
SILENCE_S = 5.0  # seconds of silence before a line that is a keepalive, and none of the first download
DOWNLOAD_S = 60.0  # seconds after which a stream that never falls silent is left: it is alive
FIX = """\
Let the proxy keep connections on which nothing comes for 60 seconds. nginx, in the location of /sync/:
    proxy_read_timeout 60s;
    proxy_buffering off;
A load balancer has an idle timeout: 60 seconds there too."""


def idle_stream(case: Case) -> Verdict:
    """Keep a stream open until its first keepalive, for half a minute."""
    if not case.waits_for_keepalive:
        return unjudged("--keepalive was not given: it takes 20 seconds")
    if not case.token:
        return unjudged("no --token was given")
    began_s = time.monotonic()
    try:
        with opened(
            "POST",
            f"{case.endpoint}{STREAM}",
            headers=stream_headers(case),
            body=b"{}",
            timeout_s=KEEPALIVE_WAIT_S,
        ) as answer:
            silent_since_s = began_s
            while time.monotonic() - began_s < DOWNLOAD_S:
                line = answer.line()
                silence_s = time.monotonic() - silent_since_s
                if not line:
                    return fault(f"The stream was ended after {silence_s:.0f} s in which nothing came.", FIX)
                if silence_s >= SILENCE_S:
                    return healthy()
                silent_since_s = time.monotonic()
    except NoAnswer as exc:
        after_s = time.monotonic() - began_s
        return fault(f"No keepalive came: {exc}, {after_s:.0f} s after the stream was opened.", FIX)
    return healthy("The stream never fell silent: so much was downloaded.")
