"""The line of commands that stays after the scenario."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

import typer

from syncline.cli.demo.console import Console
from syncline.cli.demo.devices import Device
from syncline.cli.demo.stack import Stack

__all__ = ["run_prompt"]

HELP = """
  offline | online       Alice's phone leaves the network, or comes back
  add TEXT               the phone adds a todo to its first list
  lists | todos          what each device shows now
  queue                  writes that wait on the phone
  postgres               what Postgres holds
  status                 the phone's sync status
  help | quit"""


async def run_prompt(stack: Stack, phone: Device, others: list[Device]) -> None:
    """Read commands until `quit`, Ctrl-C or the end of input. Where there is no input at all, the demo stays until it is told to end."""
    typer.echo(HELP)
    prompt = _Prompt(stack, phone, [phone, *others])
    has_input = sys.stdin is not None and sys.stdin.isatty()
    with Console().listening() as console:
        while True:
            typer.echo(f"\n{phone.name} ({'online' if phone.online else 'OFFLINE'}) > ", nl=False)
            line = await console.line()
            if line is None:
                break
            has_input = True
            command, _, rest = line.strip().partition(" ")
            if command in ("quit", "exit", "q"):
                return
            if command:
                await prompt.run(command, rest.strip())
        if not has_input and not console.told_to_end:  # as in the background of a shell
            typer.echo("\nThere is nobody to type here: the web page stays until Ctrl-C.")
            await console.until_told_to_end()


class _Prompt:
    def __init__(self, stack: Stack, phone: Device, devices: list[Device]) -> None:
        self._stack = stack
        self._phone = phone
        self._devices = devices
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "offline": self._offline,
            "online": self._online,
            "add": self._add,
            "lists": self._lists,
            "todos": self._todos,
            "queue": self._queue,
            "postgres": self._postgres,
            "status": self._status,
        }

    async def run(self, command: str, rest: str) -> None:
        action = self._commands.get(command)
        if action is None:
            typer.echo(HELP)
            return
        await action(rest)

    async def _offline(self, _rest: str) -> None:
        await self._phone.go_offline()

    async def _online(self, _rest: str) -> None:
        await self._phone.go_online()

    async def _add(self, text: str) -> None:
        lists = await self._phone.db.get_all("SELECT id, name FROM lists ORDER BY name LIMIT 1")
        if not lists or not text:
            typer.echo("Write `add` and the todo's text.")
            return
        await self._phone.add_todo(lists[0]["id"], text)
        typer.echo(f"Added to {lists[0]['name']}; it is readable here at once.")

    async def _lists(self, _rest: str) -> None:
        for device in self._devices:
            typer.echo(f"  {device.name}: {', '.join(await device.list_names())}")

    async def _todos(self, _rest: str) -> None:
        for device in self._devices:
            rows = await device.db.get_all("SELECT description FROM todos ORDER BY created_at, description")
            typer.echo(f"  {device.name}: {', '.join(row['description'] for row in rows)}")

    async def _queue(self, _rest: str) -> None:
        entries = await self._phone.db.get_all("SELECT id, data FROM ps_crud ORDER BY id")
        for entry in entries:
            typer.echo(f"  {entry['id']}: {entry['data']}")
        typer.echo(f"  {len(entries)} writes wait.")

    async def _postgres(self, _rest: str) -> None:
        for name, owner in await self._stack.postgres_rows("SELECT name, owner_id::text FROM lists ORDER BY name"):
            typer.echo(f"  list {name}  (owner {owner})")
        for (text,) in await self._stack.postgres_rows("SELECT description FROM todos ORDER BY created_at"):
            typer.echo(f"  todo {text}")

    async def _status(self, _rest: str) -> None:
        typer.echo(f"  {self._phone.db.current_status}")
