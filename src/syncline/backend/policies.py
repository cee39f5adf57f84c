"""What a user may write. Deny by default: a table without a policy takes no uploads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from syncline.backend.column_names import ColumnNames, check_column_names, with_column_names
from syncline.backend.conflicts.strategy import ConflictStrategy
from syncline.backend.field_rules import FieldRules, field_problems, field_rules
from syncline.backend.limits import NAME_CHARACTERS_SHOWN_MAX
from syncline.backend.ownership import RolePermissions, Via, tenant_of
from syncline.backend.persisters.base import ParentGuard, Write, WriteContext, WriteRefused
from syncline.backend.rule_failures import rule_failed
from syncline.backend.value_formats import ValueFormat, check_formats, with_formats
from syncline.errors import ConfigError
from syncline.protocol.crud import CrudOperation, UpdateType

__all__ = ["TablePolicy", "TableRules"]


@dataclass(frozen=True, slots=True)
class TablePolicy:
    """How uploads to one table are treated.

    `owner` is the column that holds the user: on a PUT it is set from the token, whatever the client sent; PATCH and DELETE reach the
    user's own rows only; a PATCH cannot give a row away. `via("lists", "list_id")` asks the parent row instead, inside the transaction.
    None means that every user may write every row: say so on purpose. A row whose owner is NULL belongs to nobody: no upload reaches it.
    `columns` limits what clients may write; None allows all columns of the table. `table` is the name in the database where the client
    knows the table by another.

    `tenants` are columns that hold a claim of the token (column to claim): set and guarded as the owner is. `roles` says which role may
    do what. `soft_delete` is a column (a time, or a boolean) that a DELETE marks instead: PATCH and DELETE do not reach a marked row, a
    PUT brings it back; clients cannot set it. `device` is a column that gets the client id of the device that wrote last. `put_mode`
    "replace" sets the `columns` that a PUT does not list to their defaults; "merge" leaves them. `fields` is a Pydantic model or a msgspec
    Struct that judges what is sent. `conflicts` decides where others have changed the row; None: the last write wins, column by column.
    `column_names` brings the device's names of columns to the form that the database's have; `formats` says what values of a column mean
    that do not say it themselves.
    Raises ConfigError for what cannot be meant.
    """

    owner: str | Via | None
    columns: Collection[str] | None = None
    table: str | None = None
    tenants: Mapping[str, str] = field(default_factory=dict[str, str])
    roles: RolePermissions | None = None
    soft_delete: str | None = None
    device: str | None = None
    put_mode: Literal["merge", "replace"] = "merge"
    fields: Any = None
    conflicts: ConflictStrategy | None = None
    column_names: ColumnNames | None = None
    formats: Mapping[str, ValueFormat] = field(default_factory=dict[str, ValueFormat])

    def __post_init__(self) -> None:
        if self.owner in ("", "id"):
            raise ConfigError(
                f"{self.owner!r} cannot be the owner column of a table.", hint='TablePolicy(owner="owner_id")'
            )
        if isinstance(self.columns, str):
            raise ConfigError(
                "`columns` is one text; it must be a collection of names.", hint='columns=["name", "done"]'
            )
        kept = [*self.kept_columns]
        if not {"", "id"}.isdisjoint(kept):
            raise ConfigError("`id` cannot be a tenant, soft_delete or device column of a table.")
        if len(set(kept)) < len(kept):
            raise ConfigError("One column cannot be two of owner, tenant, soft_delete and device.")
        if self.put_mode == "replace" and self.columns is None:
            raise ConfigError(
                'put_mode="replace" must know which columns a device owns: others would lose their values.',
                hint='TablePolicy(owner="owner_id", columns=["name", "done"], put_mode="replace")',
            )
        if self.fields is not None:
            field_rules(self.fields)
        check_formats(self.formats)
        check_column_names(self.column_names, (*(self.columns or ()), *kept, *self.formats))

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """Columns that the server keeps: whatever a client sends for them does not count."""
        owner = self.owner if isinstance(self.owner, str) else None
        return tuple(name for name in (owner, *self.tenants, self.soft_delete, self.device) if name is not None)


class TableRules:
    """All policies of a backend, with the ways through parent tables worked out. Raises ConfigError for a way that ends nowhere."""

    def __init__(self, tables: Mapping[str, TablePolicy]) -> None:
        self._tables = dict(tables)
        self._fields: dict[str, FieldRules] = {
            name: field_rules(policy.fields) for name, policy in tables.items() if policy.fields is not None
        }
        for name in tables:
            self._check_way(name)

    def write(self, index: int, entry: CrudOperation, context: WriteContext) -> Write:
        """The write of an operation, after its table's policy.

        Raises WriteRefused for what no policy allows, RetryLater where the app's own rules failed.
        """
        policy = self._tables.get(entry.table)
        if policy is None:
            message = f"There is no table {entry.table[:NAME_CHARACTERS_SHOWN_MAX]!r} to upload to."
            raise WriteRefused("SCHEMA_MISMATCH", message, operation_index=index)
        if policy.roles is not None:
            policy.roles.check(entry.op, entry.table, context.claims, operation_index=index)
        data = {} if entry.op is UpdateType.DELETE else _as_written(policy, entry.op_data or {}, entry.table, index)
        data.pop("id", None)
        _check_columns(policy, entry.table, data, index)
        _drop_kept(policy, data, context)
        owner = (policy.owner, context.user_id) if isinstance(policy.owner, str) else None
        tenants = _tenants(policy, context, index)
        filled = {"id": entry.id, **dict(tenants if owner is None else (owner, *tenants))}
        self._check_fields(entry, data, filled, index)
        if policy.device is not None and context.client_id is not None and (data or entry.op is UpdateType.PUT):
            data[policy.device] = context.client_id
        replaced = entry.op is UpdateType.PUT and policy.put_mode == "replace"
        return Write(
            entry.op,
            policy.table or entry.table,
            entry.id,
            data,
            owner,
            index,
            tenants=tenants,
            parent=self._parent(policy, context, index),
            soft_delete=policy.soft_delete,
            replaces=tuple(sorted({*(policy.columns or ())} - {"id", *policy.kept_columns})) if replaced else (),
            conflict=policy.conflicts,
            previous_values=None
            if entry.previous_values is None
            else _as_written(policy, entry.previous_values, entry.table, index),
            metadata=entry.metadata,
            context=context,
        )

    def _check_fields(
        self, entry: CrudOperation, data: Mapping[str, Any], filled: Mapping[str, Any], index: int
    ) -> None:
        rules = self._fields.get(entry.table)
        if rules is None or entry.op is UpdateType.DELETE:
            return
        try:
            problems = field_problems(rules, entry.op, data, filled)
        except Exception as exc:
            raise rule_failed(exc, entry.table) from exc
        if problems:
            where = ", ".join(dict.fromkeys(str(problem.get("field", "the row")) for problem in problems))
            message = f"The row of {entry.table} breaks the rules of its fields: {where}."
            raise WriteRefused("VALIDATION_ERROR", message, operation_index=index, details=problems)

    def _parent(self, policy: TablePolicy, context: WriteContext, index: int) -> ParentGuard | None:
        if not isinstance(policy.owner, Via):
            return None
        above = self._tables[policy.owner.table]
        owner = ((above.owner, context.user_id),) if isinstance(above.owner, str) else ()
        return ParentGuard(
            policy.owner.column,
            above.table or policy.owner.table,
            (*owner, *_tenants(above, context, index)),
            self._parent(above, context, index),
        )

    def _check_way(self, name: str) -> None:
        """Raise ConfigError unless the way through parents ends at a table whose rows belong to somebody."""
        passed = [name]
        policy = self._tables[name]
        while isinstance(policy.owner, Via):
            above = policy.owner.table
            if above in passed:
                raise ConfigError(f"The owner of {name} is looked for in a circle: {' -> '.join([*passed, above])}.")
            if above not in self._tables:
                raise ConfigError(
                    f"The owner of {passed[-1]} is looked for in {above}, which has no policy.",
                    hint=f'tables={{"{above}": TablePolicy(owner="owner_id"), …}}',
                )
            passed.append(above)
            policy = self._tables[above]
        if len(passed) > 1 and policy.owner is None and not policy.tenants:
            raise ConfigError(f"The owner of {name} is looked for in {passed[-1]}, whose rows belong to nobody.")


def _as_written(policy: TablePolicy, row: Mapping[str, Any], table: str, index: int) -> dict[str, Any]:
    """A device's row under the database's names, its values in forms that mean one thing."""
    named = with_column_names(row, policy.column_names, table=table, operation_index=index)
    return dict(with_formats(named, policy.formats, operation_index=index))


def _check_columns(policy: TablePolicy, table: str, data: Mapping[str, Any], index: int) -> None:
    if policy.columns is None:
        return
    unknown = sorted(set(data) - set(policy.columns) - set(policy.kept_columns))
    if unknown:
        message = f"{table} takes no column {unknown[0][:NAME_CHARACTERS_SHOWN_MAX]!r}."
        raise WriteRefused("SCHEMA_MISMATCH", message, operation_index=index)


def _drop_kept(policy: TablePolicy, data: dict[str, Any], context: WriteContext) -> None:
    """The token says who owns a row, never the client. A device may name itself where the upload does not."""
    for column in policy.kept_columns:
        if column != policy.device or context.client_id is not None:
            data.pop(column, None)


def _tenants(policy: TablePolicy, context: WriteContext, index: int) -> tuple[tuple[str, str], ...]:
    return tuple(
        (column, tenant_of(context.claims, claim, operation_index=index)) for column, claim in policy.tenants.items()
    )
