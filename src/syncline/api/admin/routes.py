"""The admin API's routes (protocol reference, 7.2 and 7.3), each behind a token of `api.tokens`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from syncline.api.admin.bodies import boolean_field, read_sync_config, text_field
from syncline.api.admin.deployments import Deployments
from syncline.api.admin.diagnostics import Diagnostics, SourceConnection, problem_text
from syncline.api.admin.revoking import UserControl, revocation_of
from syncline.api.answers import Answer, Receive, Scope, data_answer, pretty_answer
from syncline.api.requests import header, read_fields
from syncline.auth.api_tokens import ApiTokens
from syncline.errors import RequestInvalid, SourceError, SyncConfigError, SynclineError
from syncline.replication.inspection import AnswerTooLarge, SourceInspector, SqlScalar

__all__ = ["AdminRoutes"]

Handler = Callable[[Scope, Receive], Awaitable[Answer]]
Fields = dict[str, Any]
SQL_CHARACTERS_MAX = 100_000  # characters of a query for execute-sql
SQL_ARGUMENTS_MAX = 1000


class SyncConfigRefused(SynclineError):
    """A sync config that was to be deployed cannot be used; `details` has every problem."""

    code = "PSYNC_R0001"
    status = 422


class AdminRoutes:
    """Handlers by method and path, for `ServiceApp`."""

    def __init__(
        self,
        *,
        tokens: ApiTokens,
        connection: SourceConnection,
        inspector: SourceInspector,
        deployments: Deployments,
        diagnostics: Diagnostics,
        users: UserControl,
    ) -> None:
        self._tokens = tokens
        self._connection = connection
        self._inspector = inspector
        self._deployments = deployments
        self._diagnostics = diagnostics
        self._users = users

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """All routes."""
        admin, rules = "/api/admin/v1", "/api/sync-rules/v1"
        return {
            ("POST", f"{admin}/diagnostics"): self._with_fields(_check_diagnostics, self._show_diagnostics),
            ("POST", f"{admin}/schema"): self._with_fields(_check_nothing, self._schema),
            ("POST", f"{admin}/validate"): self._with_fields(_check_validate, self._validate),
            ("POST", f"{admin}/reprocess"): self._with_fields(_check_nothing, self._reprocess_connections),
            ("POST", f"{admin}/execute-sql"): self._with_fields(_check_sql, self._execute_sql),
            ("POST", f"{admin}/revoke"): self._with_fields(_check_revoke, self._revoke),
            ("POST", f"{admin}/connections"): self._with_fields(_check_connections, self._connections),
            ("POST", f"{rules}/deploy"): self._deploy,
            ("POST", f"{rules}/validate"): self._describe,
            ("POST", f"{rules}/reprocess"): self._with_fields(_check_nothing, self._reprocess),
            ("GET", f"{rules}/current"): self._current,
        }

    def _with_fields(self, check: Callable[[Fields], object], handle: Callable[[Fields], Awaitable[Any]]) -> Handler:
        """Fields first, then the token, then the work; the result goes out under `data`."""

        async def answer(scope: Scope, receive: Receive) -> Answer:
            fields = await read_fields(scope, receive)
            check(fields)
            self._check_token(scope)
            return data_answer(await handle(fields))

        return answer

    def _check_token(self, scope: Scope) -> None:
        """Raise TokenInvalid, whatever is wrong with the token: without tokens in the configuration nobody has one."""
        self._tokens.check(header(scope, b"authorization"))

    async def _deploy(self, scope: Scope, receive: Receive) -> Answer:
        text = await read_sync_config(scope, receive)
        self._check_token(scope)
        try:
            return data_answer({"slot_name": await self._deployments.deploy(text)})
        except SyncConfigError as exc:
            details = ", ".join(problem_text(problem) for problem in exc.problems)
            raise SyncConfigRefused("The sync config cannot be used.", details=details) from exc

    async def _describe(self, scope: Scope, receive: Receive) -> Answer:
        text = await read_sync_config(scope, receive)
        self._check_token(scope)
        return pretty_answer(await self._diagnostics.described(text))

    async def _current(self, scope: Scope, _receive: Receive) -> Answer:
        self._check_token(scope)
        return pretty_answer({"data": await self._diagnostics.current()})

    async def _reprocess(self, _fields: Fields) -> dict[str, Any]:
        return {"slot_name": await self._deployments.reprocess()}

    async def _reprocess_connections(self, _fields: Fields) -> dict[str, Any]:
        slot_name = await self._deployments.reprocess()
        return {"connections": [{"id": self._connection.id, "tag": self._connection.tag, "slot_name": slot_name}]}

    async def _show_diagnostics(self, fields: Fields) -> dict[str, Any]:
        return await self._diagnostics.diagnostics(content=boolean_field(fields, "sync_rules_content"))

    async def _schema(self, _fields: Fields) -> dict[str, Any]:
        return await self._diagnostics.schema()

    async def _validate(self, fields: Fields) -> dict[str, Any]:
        return await self._diagnostics.validate(fields["sync_rules"])

    async def _revoke(self, fields: Fields) -> dict[str, Any]:
        return await self._users.revoke(fields)

    async def _connections(self, fields: Fields) -> dict[str, Any]:
        return await self._users.connections(fields)

    async def _execute_sql(self, fields: Fields) -> dict[str, Any]:
        """Success or failure, both with status 200, as in the reference."""
        failed: dict[str, Any] = {"success": False, "results": {"columns": [], "rows": []}}
        if not self._connection.debug_api:
            return failed | {"error": "SQL querying is not enabled: set debug_api on the connection."}
        if fields.get("connection_id", self._connection.id) != self._connection.id:
            return failed | {"error": "There is no connection with this id."}
        query, arguments = _check_sql(fields)
        try:
            result = await self._inspector.run_sql(query, arguments)
        except (SourceError, AnswerTooLarge) as exc:
            return failed | {"error": exc.message}
        return {"success": True, "results": {"columns": result.columns, "rows": result.rows}}


def _check_nothing(_fields: Fields) -> None:
    return


def _check_diagnostics(fields: Fields) -> None:
    boolean_field(fields, "sync_rules_content")


def _check_validate(fields: Fields) -> None:
    text_field(fields, "sync_rules")


def _check_revoke(fields: Fields) -> None:
    revocation_of(fields, now_s=time.time())


def _check_connections(fields: Fields) -> None:
    if fields.get("user_id") is not None:
        text_field(fields, "user_id")


def _check_sql(fields: Fields) -> tuple[str, Sequence[SqlScalar]]:
    """Query and arguments. Raises RequestInvalid."""
    if not isinstance(fields.get("connection_id", ""), str):
        raise RequestInvalid(["connection_id must be a text"])
    sql: object = fields.get("sql")
    if not isinstance(sql, dict):
        raise RequestInvalid(["sql must be an object with query and args"])
    wanted = cast("Fields", sql)
    query = text_field(wanted, "query")
    if len(query) > SQL_CHARACTERS_MAX:
        raise RequestInvalid([f"sql.query has more than {SQL_CHARACTERS_MAX} characters"])
    found: object = wanted.get("args", [])
    if not isinstance(found, list) or len(cast("list[object]", found)) > SQL_ARGUMENTS_MAX:
        raise RequestInvalid([f"sql.args must be a list of at most {SQL_ARGUMENTS_MAX} values"])
    arguments = cast("list[object]", found)
    if not all(argument is None or isinstance(argument, (str, int, float)) for argument in arguments):
        raise RequestInvalid(["sql.args must hold texts, numbers, true, false and null"])
    return query, cast("list[SqlScalar]", arguments)
