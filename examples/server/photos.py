"""A store for photos: the backend signs a URL for each transfer, as it would for S3 and the like."""

import hmac
import secrets
import time
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from syncline.backend import BackendAuth

METHODS = {"upload": "PUT", "download": "GET", "delete": "DELETE"}


def photo_routes(folder: Path, url: str, auth: BackendAuth) -> list[Route]:
    """`POST /api/files/sign`, and the URLs that it gives."""
    key = secrets.token_bytes(32)

    def signature(method: str, name: str, expires: int) -> str:
        return hmac.digest(key, f"{method} {name} {expires}".encode(), "sha256").hex()

    async def sign(request: Request) -> Response:
        await auth.authenticate(request.headers.get("authorization"))  # and may this user do that with this photo?
        wanted = await request.json()
        name, method, expires = Path(wanted["name"]).name, METHODS[wanted["operation"]], int(time.time()) + 300
        return JSONResponse(
            {"url": f"{url}/files/{name}?expires={expires}&signature={signature(method, name, expires)}"}
        )

    async def carry(request: Request) -> Response:
        name, expires = Path(request.path_params["name"]).name, int(request.query_params["expires"])
        expected = signature(request.method, name, expires)
        if expires < time.time() or not hmac.compare_digest(expected, request.query_params["signature"]):
            return Response(status_code=403)
        if request.method == "PUT":
            (folder / name).write_bytes(await request.body())
        elif request.method == "DELETE":
            (folder / name).unlink(missing_ok=True)
        elif not (folder / name).exists():
            return Response(status_code=404)
        else:
            return Response((folder / name).read_bytes())
        return Response(status_code=204)

    methods = list(METHODS.values())
    return [Route("/api/files/sign", sign, methods=["POST"]), Route("/files/{name}", carry, methods=methods)]
