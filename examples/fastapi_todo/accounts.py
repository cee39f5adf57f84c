"""The app's own login: names and passwords, and a token for each sign-in. It knows nothing of sync."""

import hashlib
import hmac
import secrets

from fastapi import APIRouter, HTTPException, Request
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, Field

from syncline.backend import AuthenticatedUser


class SignIn(BaseModel):
    name: str = Field(min_length=1, max_length=50)
    password: str = Field(min_length=8, max_length=200)


def scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


class Accounts:
    """Accounts in Postgres. A name that nobody has is taken by whom it is used first."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self.router = APIRouter()
        self.router.post("/login")(self.login)

    async def login(self, asked: SignIn) -> dict[str, str]:
        """`POST /login` with name and password: a token for `connector.login(token)`."""
        salt = secrets.token_bytes(16)
        token = secrets.token_urlsafe(32)
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO accounts (name, salt, password) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (asked.name, salt, scrypt(asked.password, salt)),
            )
            found = await connection.execute("SELECT salt, password FROM accounts WHERE name = %s", (asked.name,))
            [(salt, password)] = await found.fetchall()
            if not hmac.compare_digest(scrypt(asked.password, salt), password):
                raise HTTPException(401, "The password is wrong.")
            digest = hashlib.sha256(token.encode()).digest()
            await connection.execute("INSERT INTO logins (token, name) VALUES (%s, %s)", (digest, asked.name))
        return {"token": token}

    async def current_user(self, request: Request) -> AuthenticatedUser | None:
        """Who sends a request, None for nobody: what the sync backend asks before it gives a token for the sync service."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(token.encode()).digest()
        async with self._pool.connection() as connection:
            found = await connection.execute("SELECT name FROM logins WHERE token = %s", (digest,))
            row = await found.fetchone()
        return AuthenticatedUser(row[0]) if row is not None and scheme.lower() == "bearer" else None
