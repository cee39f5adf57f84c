from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from syncline.client.attachments import (
    Attachment,
    AttachmentNotFound,
    AttachmentRefused,
    AttachmentState,
    AttachmentTooLarge,
    HttpStorage,
    Operation,
    SignedRequest,
    TransferFailed,
)
from tests.support.web_server import serving

SECRET = "signature-of-the-storage"
CONTENT = bytes(range(256)) * 2000
PHOTO = Attachment("p1", "p1.jpg", AttachmentState.QUEUED_UPLOAD, 0, media_type="image/jpeg")
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Bucket:
    """Where files are kept: takes what carries its signature. `answer` replaces the next answers."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.headers: list[dict[str, str]] = []
        self.answer: Answer | None = None
        self.signed: list[tuple[str, Operation]] = []

    async def sign(self, attachment: Attachment, operation: Operation) -> str:
        self.signed.append((attachment.id, operation))
        return f"{self.url}/{attachment.filename}?signature={SECRET}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.answer is not None:
            return await self.answer(request)
        assert request.query["signature"] == SECRET
        name = request.path.removeprefix("/")
        if request.method == "PUT":
            self.files[name] = await request.read()
            return web.Response()
        if name not in self.files:
            return web.Response(status=404)
        if request.method == "DELETE":
            del self.files[name]
            return web.Response(status=204)
        return web.Response(body=self.files[name])

    def fail(self, status: int, **headers: str) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            await request.read()
            return web.Response(status=status, headers={key.replace("_", "-"): value for key, value in headers.items()})

        self.answer = answer


@pytest.fixture
async def bucket() -> AsyncGenerator[Bucket]:
    running = Bucket()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{name}", running.handle)
    async with serving(app) as running.url:
        yield running


@pytest.fixture
async def storage(bucket: Bucket) -> AsyncGenerator[HttpStorage]:
    opened = HttpStorage(bucket.sign, idle_timeout_s=5)
    yield opened
    await opened.close()


async def content(data: bytes = CONTENT) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


async def downloaded(storage: HttpStorage) -> bytes:
    return b"".join([chunk async for chunk in storage.download(PHOTO)])


@pytest.mark.requirement(208)
async def test_a_file_goes_to_the_storage_and_comes_back(bucket: Bucket, storage: HttpStorage) -> None:
    await storage.upload(PHOTO, content(), size=len(CONTENT))
    assert bucket.files == {"p1.jpg": CONTENT}
    assert bucket.headers[0]["content-length"] == str(len(CONTENT))  # storages refuse chunked bodies
    assert "transfer-encoding" not in bucket.headers[0]
    assert bucket.headers[0]["content-type"] == "image/jpeg"
    assert await downloaded(storage) == CONTENT
    await storage.delete(PHOTO)
    await storage.delete(PHOTO)
    assert bucket.files == {}
    assert bucket.signed == [
        ("p1", Operation.UPLOAD),
        ("p1", Operation.DOWNLOAD),
        ("p1", Operation.DELETE),
        ("p1", Operation.DELETE),
    ]
    with pytest.raises(AttachmentNotFound):
        await downloaded(storage)
    await storage.close()  # and it can be used again
    await storage.upload(replace(PHOTO, media_type=None), content(), size=len(CONTENT))
    assert bucket.headers[-1]["content-type"] == "application/octet-stream"


async def test_the_signature_decides_about_method_and_headers(bucket: Bucket) -> None:
    async def sign(attachment: Attachment, operation: Operation) -> SignedRequest:
        url = f"{bucket.url}/{attachment.filename}?signature={SECRET}"
        return SignedRequest(url, method="POST", headers={"Content-Type": "image/x-mine", "x-amz-acl": "private"})

    methods: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        methods.append(request.method)
        await request.read()
        return web.Response(status=201)

    bucket.answer = answer
    storage = HttpStorage(sign)
    await storage.upload(PHOTO, content(), size=len(CONTENT))
    await storage.close()
    assert methods == ["POST"]
    assert bucket.headers[0]["content-type"] == "image/x-mine"
    assert bucket.headers[0]["x-amz-acl"] == "private"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, TransferFailed),
        (401, TransferFailed),
        (403, TransferFailed),
        (404, AttachmentNotFound),
        (408, TransferFailed),
        (410, AttachmentNotFound),
        (413, AttachmentTooLarge),
        (415, AttachmentRefused),
        (429, TransferFailed),
        (500, TransferFailed),
        (503, TransferFailed),
    ],
)
async def test_what_a_status_means(bucket: Bucket, storage: HttpStorage, status: int, error: type[Exception]) -> None:
    bucket.fail(status)
    for attempt in (storage.upload(PHOTO, content(), size=len(CONTENT)), downloaded(storage)):
        with pytest.raises(error) as caught:
            await attempt
        assert type(caught.value) is error
        assert str(status) in str(caught.value)
        assert SECRET not in str(caught.value) + repr(caught.value)


async def test_the_storage_can_ask_for_a_pause(bucket: Bucket, storage: HttpStorage) -> None:
    bucket.fail(503, Retry_After="17")
    with pytest.raises(TransferFailed) as caught:
        await storage.delete(PHOTO)
    assert caught.value.retry_after_s == 17


async def test_a_storage_that_cannot_be_reached_is_tried_later_and_keeps_the_url_secret() -> None:
    async def sign(attachment: Attachment, operation: Operation) -> str:
        return f"http://127.0.0.1:9/p1.jpg?signature={SECRET}"

    storage = HttpStorage(sign)
    for attempt in (storage.upload(PHOTO, content(), size=len(CONTENT)), downloaded(storage), storage.delete(PHOTO)):
        with pytest.raises(TransferFailed) as caught:
            await attempt
        assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.__cause__} {caught.value.hint}"
    await storage.close()
    assert SECRET not in repr(SignedRequest(f"https://example.com/?signature={SECRET}"))


async def test_a_download_that_ends_early_is_no_file(bucket: Bucket, storage: HttpStorage) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": str(len(CONTENT))})
        await response.prepare(request)
        await response.write(CONTENT[:1000])
        assert request.transport is not None
        request.transport.close()
        return response

    bucket.answer = answer
    with pytest.raises(TransferFailed):
        await downloaded(storage)


async def test_transfers_that_stand_still_end(bucket: Bucket) -> None:
    """Nothing is taken of the upload, nothing more comes of the download; both are limits of the client."""

    async def stand_still(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if request.method == "GET":
            await response.prepare(request)
            await response.write(b"the beginning")
        await asyncio.Event().wait()
        return response

    bucket.answer = stand_still
    storage = HttpStorage(bucket.sign, idle_timeout_s=0.2)
    much = bytes(8 << 20)  # more than sockets buffer
    async with asyncio.timeout(20):
        with pytest.raises(TransferFailed, match="upload"):
            await storage.upload(PHOTO, content(much), size=len(much))
        with pytest.raises(TransferFailed, match="download"):
            await downloaded(storage)
    await storage.close()


async def test_a_slow_upload_that_moves_is_not_ended(bucket: Bucket) -> None:
    storage = HttpStorage(bucket.sign, idle_timeout_s=0.5)
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def slow() -> AsyncIterator[bytes]:
        while loop.time() - started < 1.0:
            moment = loop.create_future()
            loop.call_later(0.05, moment.set_result, None)
            await moment
            yield b"x"
        yield b"y" * (1000 - taken)

    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        async for chunk in slow():
            taken += len(chunk)
            yield chunk

    await storage.upload(PHOTO, counted(), size=1000)
    await storage.close()
    assert len(bucket.files["p1.jpg"]) == 1000
