"""What the web page's buttons do."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec

from syncline.backend.dead_letters.handling import DeadLetterSettled, DeadLetterUnknown
from syncline.backend.persisters.base import RetryLater
from syncline.cli.demo.devices import Device
from syncline.cli.demo.model import ALICES_LIST, BOB, BOBS_LIST, LIST_NAME_CHARACTERS_MAX
from syncline.cli.demo.stack import Stack
from syncline.cli.demo.state import ConflictShown, conflicts_shown
from syncline.protocol.crud import ResultStatus

__all__ = ["ACTIONS_BYTES_MAX", "TEXT_CHARACTERS_MAX", "Action", "ActionRefused", "Actions", "decode_action"]

TEXT_CHARACTERS_MAX = 500  # of what is typed into the page
ACTIONS_BYTES_MAX = 16 * 1024  # of one request

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _OfDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action"):
    device: Id


class Airplane(_OfDevice, frozen=True, tag="airplane"):
    """Switch the airplane mode of a phone."""

    on: bool


class AddList(_OfDevice, frozen=True, tag="add_list"):
    """A new list."""

    name: Text


class DeleteList(_OfDevice, frozen=True, tag="delete_list"):
    """A list and its todos."""

    id: Id


class AddTodo(_OfDevice, frozen=True, tag="add_todo"):
    """A new todo of a list."""

    list_id: Id
    description: Text


class DescribeTodo(_OfDevice, frozen=True, tag="describe_todo"):
    """Another text."""

    id: Id
    description: Text


class CompleteTodo(_OfDevice, frozen=True, tag="complete_todo"):
    """Tick off, or not."""

    id: Id
    completed: bool


class DeleteTodo(_OfDevice, frozen=True, tag="delete_todo"):
    """A todo."""

    id: Id


class BreakCheck(_OfDevice, frozen=True, tag="break_check"):
    """Write what a CHECK of Postgres refuses: a list with too long a name."""


class BreakPolicy(_OfDevice, frozen=True, tag="break_policy"):
    """Write what the backend's policy refuses: a todo in somebody else's list."""


class DismissRejection(_OfDevice, frozen=True, tag="dismiss_rejection"):
    """The user has seen it."""

    id: Id


class SettleConflict(_OfDevice, frozen=True, tag="settle_conflict"):
    """Keep `mine`, or what stands in Postgres."""

    id: Id
    mine: bool


class _OfAll(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action"):
    pass


class MakeConflict(_OfAll, frozen=True, tag="make_conflict"):
    """Two phones of one user go offline, and each writes another text into the same todo."""


class RetryLetter(_OfAll, frozen=True, tag="retry_letter"):
    """Apply a dead letter again."""

    id: Id


class DiscardLetter(_OfAll, frozen=True, tag="discard_letter"):
    """Give a dead letter up."""

    id: Id


class Reset(_OfAll, frozen=True, tag="reset"):
    """Everything as at the start, on the phones and in Postgres."""


Action = (
    Airplane
    | AddList
    | DeleteList
    | AddTodo
    | DescribeTodo
    | CompleteTodo
    | DeleteTodo
    | BreakCheck
    | BreakPolicy
    | DismissRejection
    | SettleConflict
    | MakeConflict
    | RetryLetter
    | DiscardLetter
    | Reset
)

_decoder: msgspec.json.Decoder[Action] = msgspec.json.Decoder(Action)


class ActionRefused(Exception):
    """It cannot be done now; the message is for the page."""


def decode_action(body: bytes) -> Action:
    """An action from a request's body. Raises ActionRefused for what is none."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, msgspec.ValidationError) as exc:
        raise ActionRefused(f"This is no action of the page: {exc}") from exc


class Actions:
    """Performs actions, one at a time."""

    def __init__(self, stack: Stack, devices: list[Device]) -> None:
        self._stack = stack
        self._devices = {device.key: device for device in devices}
        self._one = asyncio.Lock()

    async def perform(self, action: Action) -> None:
        """Do it; what follows from it is seen in the state. Raises ActionRefused."""
        async with self._one:
            if isinstance(action, _OfDevice):
                await self._perform_on(self._device(action.device), action)
            else:
                await self._perform_on_all(action)

    async def _perform_on(self, device: Device, action: _OfDevice) -> None:
        match action:
            case Airplane():
                await (device.go_offline() if action.on else device.go_online())
            case AddList():
                await device.add_list(action.name)
            case DeleteList():
                await device.delete_list(action.id)
            case AddTodo():
                await device.add_todo(action.list_id, action.description)
            case DescribeTodo():
                await device.describe_todo(action.id, action.description)
            case CompleteTodo():
                await device.complete_todo(action.id, completed=action.completed)
            case DeleteTodo():
                await device.delete_todo(action.id)
            case BreakCheck():
                await device.add_list("This name is too long: " + "long " * (LIST_NAME_CHARACTERS_MAX // 5) + "indeed")
            case BreakPolicy():
                foreign = ALICES_LIST if device.user_id == BOB else BOBS_LIST
                await device.add_todo(foreign, "Written into somebody else's list")
            case DismissRejection():
                await device.dismiss_rejection(action.id)
            case SettleConflict():
                conflict = await self._conflict(device, action.id)
                await device.settle_conflict(action.id, description=conflict.mine if action.mine else None)
            case _:
                raise AssertionError(action)

    async def _perform_on_all(self, action: Action) -> None:
        try:
            match action:
                case MakeConflict():
                    await self._make_conflict()
                case RetryLetter():
                    result = await self._stack.backend.dead_letters.retry(action.id)
                    if result.status is not ResultStatus.SUCCESS:
                        raise ActionRefused(f"Refused again: {result.message}")
                case DiscardLetter():
                    await self._stack.backend.dead_letters.discard(action.id)
                case Reset():
                    await self._reset()
                case _:
                    raise AssertionError(action)
        except (DeadLetterUnknown, DeadLetterSettled, RetryLater) as exc:
            raise ActionRefused(str(exc)) from exc

    async def _make_conflict(self) -> None:
        first, second = self._pair()
        shared = await self._shared_todo(first, second)
        if shared is None:
            raise ActionRefused(f"{first.name} and {second.name} have no todo in common. Reset the demo, or add one.")
        todo_id, text = shared
        for device, whose in ((first, "the first phone"), (second, "the second phone")):
            await device.go_offline()
            await device.describe_todo(todo_id, f"{text} (says {whose})")

    def _pair(self) -> tuple[Device, Device]:
        """Two devices of one user."""
        by_user: dict[str, Device] = {}
        for device in self._devices.values():
            if device.user_id in by_user:
                return by_user[device.user_id], device
            by_user[device.user_id] = device
        raise ActionRefused("No user has two devices.")

    async def _shared_todo(self, first: Device, second: Device) -> tuple[str, str] | None:
        """The oldest todo that says the same on both devices: its id, and its text without what an earlier conflict has added."""
        query = "SELECT id, description FROM todos WHERE created_at IS NOT NULL ORDER BY created_at, id LIMIT 100"
        theirs = {row["id"]: row["description"] for row in await second.rows(query)}
        for row in await first.rows(query):
            if theirs.get(row["id"]) == row["description"]:
                return row["id"], row["description"].partition(" (says ")[0]
        return None

    async def _conflict(self, device: Device, conflict_id: str) -> ConflictShown:
        rows = await device.rows("SELECT id, client_data, server_data FROM write_conflicts WHERE resolved = 0")
        for row in rows:
            if row["id"] == conflict_id:
                return conflicts_shown([row])[0]
        raise ActionRefused("This conflict is settled already.")

    async def _reset(self) -> None:
        for device in self._devices.values():
            await device.forget_everything()
        await self._stack.seed_again()
        for device in self._devices.values():
            await device.go_online()

    def _device(self, key: str) -> Device:
        device = self._devices.get(key)
        if device is None:
            raise ActionRefused("There is no such phone.")
        return device
