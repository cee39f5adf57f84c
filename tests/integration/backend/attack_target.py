"""A backend with rows of Ann and Bob, for what somebody with a good token, a stolen upload or a forged one may try."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from syncline.auth.signer import TokenSigner
from syncline.backend import BackendAuth, SyncBackend, TablePolicy
from syncline.backend.asgi import SyncApp
from syncline.backend.http.request_limits import RequestLimits
from syncline.backend.persisters.postgres import PostgresPersister
from syncline.testing.postgres import PostgresServer, ScratchDatabase
from tests.support.backend_faces import Answer, Ask, over_http, serving_asgi

__all__ = [
    "ANNS_SECRET",
    "BOBS_SECRET",
    "BODY_BYTES_MAX",
    "KEY",
    "KEY_ID",
    "Target",
    "entry",
    "nothing_told",
    "serving_target",
    "token",
]

BOBS_SECRET, ANNS_SECRET = "bobs secret 7f3a", "anns secret 91c2"
SCHEMA_SQL = f"""
CREATE TABLE lists (
  id text PRIMARY KEY, name text, note text, owner_id text NOT NULL, org_id text NOT NULL,
  deleted_at timestamptz, device_id text, level integer NOT NULL DEFAULT 0
);
CREATE TABLE notes (id text PRIMARY KEY, name text, owner_id text NOT NULL);
CREATE TABLE secrets (id text PRIMARY KEY, name text);
INSERT INTO lists (id, name, owner_id, org_id) VALUES ('bobs', '{BOBS_SECRET}', 'bob', 'b'), ('anns', '{ANNS_SECRET}', 'ann', 'a');
INSERT INTO notes VALUES ('bobs', '{BOBS_SECRET}', 'bob'), ('anns', '{ANNS_SECRET}', 'ann');
INSERT INTO secrets VALUES ('s', '{BOBS_SECRET}');
"""
TABLES = {
    "lists": TablePolicy(
        owner="owner_id",
        tenants={"org_id": "org"},
        soft_delete="deleted_at",
        device="device_id",
        columns=["name", "note"],
    ),
    "notes": TablePolicy(owner="owner_id"),
}
AUDIENCE = "the-app"
BODY_BYTES_MAX = 100_000
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


SIGNER = TokenSigner.from_private_jwk(RSAAlgorithm.to_jwk(KEY, as_dict=True))
[KEY_ID] = [str(key["kid"]) for key in cast("list[dict[str, str]]", SIGNER.jwks()["keys"])]


def token(user: str = "ann", *, org: str | None = "a", **claims: Any) -> str:
    """A good token, signed by the backend's key; `claims` overwrite, None leaves one out."""
    now = int(time.time())
    content = {"sub": user, "aud": AUDIENCE, "iat": now, "exp": now + 300, "org": org} | claims
    return jwt.encode(
        {name: value for name, value in content.items() if value is not None}, KEY, "RS256", {"kid": KEY_ID}
    )


@dataclass(frozen=True)
class Target:
    """A backend with rows of Ann and Bob."""

    ask: Ask
    database: ScratchDatabase

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All rows that the app has, and the names of all its tables; the toolkit makes its own ones when it is first asked."""
        names = [
            name
            for (name,) in self.database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            if not name.startswith("syncline_")
        ]
        app = {
            name: self.database.execute(f"SELECT * FROM {name} ORDER BY id") for name in ("lists", "notes", "secrets")
        }
        return {**app, "tables": [(name,) for name in sorted(names)]}

    def send(self, body: bytes, bearer: str | None = None, *, path: str = "/api/data", **headers: str) -> Answer:
        """An upload of Ann's, unless another token is given."""
        head = {"content-type": "application/json", "authorization": f"Bearer {token() if bearer is None else bearer}"}
        return self.ask("POST", path, head | headers, body)

    def verdict(self, *crud: dict[str, Any], bearer: str | None = None, **batch: Any) -> str:
        """The code of a transaction's refusal, or its status; the answer has no secret in it."""
        answer = self.send(json.dumps({"transactions": [{"crud": list(crud)}], **batch}).encode(), bearer)
        assert answer.status == 200, answer.body
        nothing_told(answer)
        [result] = answer.json()["results"]
        assert ("failed_operation" in result) == (result["status"] == "fatal_error")
        return result["failed_operation"]["error_code"] if "failed_operation" in result else result["status"]

    def forget(self) -> None:
        """Remove the rows that Ann has added; their ids begin with `new`."""
        self.database.execute("DELETE FROM lists WHERE id LIKE 'new%'; DELETE FROM notes WHERE id LIKE 'new%'")

    @contextlib.contextmanager
    def unchanged(self) -> Generator[None]:
        """Nothing of the app's is written in the block."""
        before = self.rows()
        yield
        after = self.rows()
        assert after == before, {name: (before[name], after[name]) for name in after if after[name] != before[name]}


def nothing_told(answer: Answer) -> None:
    """No value of a row is in the answer, and nothing of Bob."""
    told = answer.body + str(answer.headers).encode()
    assert BOBS_SECRET.encode() not in told
    assert ANNS_SECRET.encode() not in told
    assert b"bob" not in told


def entry(op: str = "PUT", row_id: str = "new", table: str = "lists", **data: Any) -> dict[str, Any]:
    return {"op": op, "table": table, "id": row_id, "op_data": data or None}


@contextlib.contextmanager
def serving_target(postgres_server: PostgresServer) -> Generator[Target]:
    """The backend behind a socket, over a database of its own."""
    database = postgres_server.create()
    database.execute(SCHEMA_SQL)
    auth = BackendAuth(SIGNER, audience=AUDIENCE, service_url="http://127.0.0.1:8080")
    backend = SyncBackend(
        persister=PostgresPersister(database.dsn),
        auth=auth,
        tables=TABLES,
        limits=RequestLimits(body_bytes=BODY_BYTES_MAX),
    )
    with serving_asgi(SyncApp(backend)) as url:
        yield Target(over_http(url), database)
    postgres_server.drop(database)
