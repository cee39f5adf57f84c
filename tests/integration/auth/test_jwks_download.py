"""One download of a key set over real sockets: sizes, times, redirects, and addresses that are not allowed."""

from __future__ import annotations

import asyncio
import gzip
import socket
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from syncline.auth.addresses import AddressRules, read_address_rules
from syncline.auth.jwks_document import JwksFailed, read_key_set
from syncline.auth.jwks_download import DOCUMENT_BYTES_MAX, FETCH_TIMEOUT_S, REDIRECTS_MAX, JwksDownload, _redirected
from tests.integration.auth.issuer import HOST, Issuer, Names, running_issuer
from tests.unit.auth.issuer import SigningKey, key_set

FIRST = SigningKey("first")
LOOPBACK = read_address_rules(block_local=False, ranges=["127.0.0.1"])
LOCAL = read_address_rules(block_local=False, ranges=["local"])
BLOCKED = read_address_rules(block_local=True, ranges=[])


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with running_issuer([FIRST]) as running:
        yield running


async def kids(download: JwksDownload) -> list[str | None]:
    return [key.kid for key in read_key_set(await download())]


async def failure(download: JwksDownload) -> JwksFailed:
    with pytest.raises(JwksFailed) as caught:
        await download()
    return caught.value


async def test_a_key_set_is_asked_for_as_json(issuer: Issuer) -> None:
    assert await kids(JwksDownload(URL(issuer.uri()))) == ["first"]
    assert (issuer.requests, issuer.accepted) == (["/jwks"], "application/json")


@pytest.mark.parametrize("status", [204, 304, 400, 401, 404, 500, 503])
async def test_another_status_than_200_is_a_failure(issuer: Issuer, status: int) -> None:
    issuer.status = status
    failed = await failure(JwksDownload(URL(issuer.uri())))
    assert (str(failed), failed.code) == (f"HTTP status {status}", "PSYNC_S2204")


async def test_a_document_has_its_largest_size_at_most(issuer: Issuer) -> None:
    issuer.body = key_set(FIRST).ljust(DOCUMENT_BYTES_MAX)
    assert await kids(JwksDownload(URL(issuer.uri()))) == ["first"]
    issuer.body += b" "
    assert f"larger than {DOCUMENT_BYTES_MAX} bytes" in str(await failure(JwksDownload(URL(issuer.uri()))))


async def test_a_compressed_document_counts_as_it_is_unpacked(issuer: Issuer) -> None:
    issuer.headers = {"Content-Encoding": "gzip"}
    issuer.body = gzip.compress(key_set(FIRST))
    assert await kids(JwksDownload(URL(issuer.uri()))) == ["first"]
    issuer.body = gzip.compress(bytes(256 * DOCUMENT_BYTES_MAX), 9)
    assert len(issuer.body) < DOCUMENT_BYTES_MAX
    tracemalloc.start()
    try:
        assert "larger than" in str(await failure(JwksDownload(URL(issuer.uri()))))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16 * DOCUMENT_BYTES_MAX


async def test_an_issuer_that_does_not_answer_in_time_is_given_up(issuer: Issuer) -> None:
    assert FETCH_TIMEOUT_S == 30.0
    issuer.open.clear()
    failed = await failure(JwksDownload(URL(issuer.uri()), timeout_s=0.05))
    assert (str(failed), failed.code) == ("no complete answer within 0.05 s", "PSYNC_S2204")


async def test_an_answer_that_stops_in_the_middle_is_given_up_at_the_same_time() -> None:
    done = asyncio.Event()

    async def begin(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"keys"')
        await done.wait()
        writer.close()

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        failed = await failure(JwksDownload(URL(f"http://127.0.0.1:{port}/jwks"), timeout_s=0.1))
        done.set()
    assert "no complete answer" in str(failed)


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", b"HTTP/1.1 302 Found\r\n\r\n"],
    ids=["closed", "no HTTP", "cut off", "no location"],
)
async def test_what_is_no_http_is_a_failure(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        failed = await failure(JwksDownload(URL(f"http://user:password@127.0.0.1:{port}/jwks?key=secret")))
    assert failed.code == "PSYNC_S2204"
    assert "password" not in str(failed)
    assert "secret" not in str(failed)


async def test_an_issuer_that_is_down_is_a_failure_that_names_its_host(issuer: Issuer) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        failed = await failure(JwksDownload(URL(f"http://user:password@127.0.0.1:{port}/jwks?key=secret")))
    assert (failed.code, f"127.0.0.1:{port}" in str(failed)) == ("PSYNC_S2204", True)
    assert "password" not in str(failed)
    assert "secret" not in str(failed)


async def test_a_redirect_is_followed_within_its_origin(issuer: Issuer) -> None:
    assert await kids(JwksDownload(URL(issuer.uri("/moved")))) == ["first"]
    assert issuer.requests == ["/moved", "/jwks"]


async def test_redirects_that_do_not_end_are_given_up(issuer: Issuer) -> None:
    issuer.redirect(issuer.uri())
    assert str(await failure(JwksDownload(URL(issuer.uri())))) == f"more than {REDIRECTS_MAX} redirects"
    assert len(issuer.requests) == REDIRECTS_MAX + 1


@pytest.mark.parametrize(
    ("uri", "location", "target"),
    [
        ("http://a.test/jwks", "https://a.test/keys", "https://a.test/keys"),
        ("http://a.test/jwks", "https://a.test:443/keys", "https://a.test/keys"),
        ("http://a.test/jwks", "keys?x=1", "http://a.test/keys?x=1"),
        ("http://a.test/jwks", "https://a.test:8443/keys", None),
        ("http://a.test:8080/jwks", "https://a.test/keys", None),
        ("http://a.test/jwks", "https://b.test/keys", None),
        ("https://a.test/jwks", "http://a.test/keys", None),
    ],
)
def test_a_redirect_may_go_from_http_to_https_of_the_same_host_and_not_back(
    uri: str, location: str, target: str | None
) -> None:
    if target is not None:
        assert str(_redirected(URL(uri), location)) == target
        return
    with pytest.raises(JwksFailed, match="another origin"):
        _redirected(URL(uri), location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_another_origin_is_refused(issuer: Issuer, status: int) -> None:
    async with running_issuer([SigningKey("second")]) as other:
        for target in (
            other.uri(),
            issuer.uri(host="localhost"),
            f"https://127.0.0.1:{issuer.port}/jwks",
            "https://127.0.0.1/jwks",
            "http://169.254.169.254/latest/meta-data/",
            "//127.0.0.1:1/jwks",
            "file:///etc/passwd",
            "http://[::1",
        ):
            issuer.redirect(target, status)
            assert (await failure(JwksDownload(URL(issuer.uri())))).code == "PSYNC_S2204"
        assert other.requests == []


@pytest.mark.requirement(115)
@pytest.mark.parametrize(
    ("uri", "rules", "code"),
    [
        ("http://127.0.0.1:{port}/jwks", LOOPBACK, "PSYNC_S2203"),
        ("http://127.0.0.1:{port}/jwks", LOCAL, "PSYNC_S2203"),
        ("http://127.0.0.1:{port}/jwks", BLOCKED, "PSYNC_S2203"),
        ("http://localhost:{port}/jwks", LOCAL, "PSYNC_S2203"),
        ("http://localhost:{port}/jwks", BLOCKED, None),  # of two addresses, the order is the system's
        ("http://2130706433:{port}/jwks", LOCAL, None),  # 127.0.0.1 as one number, where the system takes that
        ("http://127.1:{port}/jwks", LOCAL, None),
        ("http://[::1]:{port}/jwks", LOCAL, "PSYNC_S2203"),
        ("http://[::1]:{port}/jwks", BLOCKED, "PSYNC_S2202"),
        ("http://[::ffff:127.0.0.1]:{port}/jwks", LOCAL, "PSYNC_S2203"),
        ("http://[::ffff:127.0.0.1]:{port}/jwks", LOOPBACK, "PSYNC_S2203"),
    ],
)
async def test_an_address_that_is_not_allowed_is_not_connected_to(
    issuer: Issuer, uri: str, rules: AddressRules, code: str | None
) -> None:
    failed = await failure(JwksDownload(URL(uri.format(port=issuer.port)), addresses=rules))
    assert failed.code == code or (code is None and failed.code in {"PSYNC_S2202", "PSYNC_S2203", "PSYNC_S2204"})
    assert issuer.requests == []


@pytest.mark.requirement(115)
async def test_an_address_that_is_allowed_is_used_where_a_name_also_has_others(issuer: Issuer) -> None:
    rules = read_address_rules(block_local=False, ranges=["127.0.0.2/31", "::1"])
    names = Names(["127.0.0.2", "::1", "127.0.0.1", "127.0.0.3"])
    assert await kids(JwksDownload(URL(issuer.uri(host=HOST)), addresses=rules, resolver=names)) == ["first"]


@pytest.mark.requirement(115)
async def test_a_name_that_means_another_address_later_does_not_get_round_the_rules(issuer: Issuer) -> None:
    """The address is checked where the socket is made, not where the name was looked up before."""
    names = Names(["127.0.0.3"], ["127.0.0.1"])  # first one that is allowed, where nobody answers
    download = JwksDownload(URL(issuer.uri(host=HOST)), addresses=LOOPBACK, resolver=names)
    assert (await failure(download)).code == "PSYNC_S2204"
    failed = await failure(download)
    assert (failed.code, "127.0.0.1 is not allowed" in str(failed)) == ("PSYNC_S2203", True)
    assert (names.asked, issuer.requests) == (2, [])


@pytest.mark.requirement(115)
async def test_a_redirect_to_a_name_that_means_another_address_now_is_checked_again(issuer: Issuer) -> None:
    rules = read_address_rules(block_local=False, ranges=["127.0.0.2"])
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    failed = await failure(JwksDownload(URL(issuer.uri("/moved", host=HOST)), addresses=rules, resolver=names))
    assert failed.code == "PSYNC_S2203"
    assert issuer.requests == ["/moved"]


async def test_a_proxy_of_the_environment_is_not_used(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_issuer() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.uri(""))
        assert await kids(JwksDownload(URL(issuer.uri()))) == ["first"]
        assert proxy.requests == []
