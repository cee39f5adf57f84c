"""The command line: how fast its help is, and what a wrong line ends with."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from syncline.cli.main import COMMANDS, main

LOADED_FOR_HELP = {
    "syncline",
    "syncline.cli",
    "syncline.cli.exit_codes",
    "syncline.cli.lazy_groups",
    "syncline.cli.main",
    "syncline.errors",
}
HELP_RATIO_MAX = 2.0  # of the processor time for help to that for importing the library alone
OF_SERVICE = ("start", "test-connection", "migrate", "compact", "teardown")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["syncline", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_help_costs_little_more_than_the_library_that_draws_it() -> None:
    """About 0.1 s on a free machine; in a ratio, for other work runs beside the tests."""
    pairs = [(cpu_seconds("-m", "syncline.cli.main", "--help"), cpu_seconds("-c", "import typer")) for _ in range(3)]
    assert min(helping / importing for helping, importing in pairs) < HELP_RATIO_MAX


def cpu_seconds(*arguments: str) -> float:
    """Processor time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_loads_nothing_that_a_command_needs() -> None:
    code = (
        "import sys; sys.argv = ['syncline', 'start', '--help']\n"
        "from syncline.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted(set(sys.modules)))"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for module in ("asyncio", "msgspec", "psycopg", "rich", "uvicorn", "yaml", "syncline.service"):
        assert f"'{module}'" not in listed


def test_lists_of_commands_load_none_of_them() -> None:
    """How long it takes is another matter of the machine: here modules are counted."""
    code = (
        "import sys\n"
        "from syncline.cli.main import main\n"
        "for line in (['--help'], ['docker', '--help'], ['link']):\n"
        "    sys.argv = ['syncline', *line]\n"
        "    try: main()\n"
        "    except SystemExit as ended: assert not ended.code, line\n"
        "print(*(name for name in sys.modules if name.startswith('syncline')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stderr.split()) == LOADED_FOR_HELP


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    listed = capsys.readouterr().out
    first_words = {command.words.split()[0] for command in COMMANDS if not command.hidden}
    assert [name for name in first_words if f"  {name} " not in listed] == []


@pytest.mark.parametrize("command", OF_SERVICE)
def test_every_command_of_the_service_takes_the_configuration_in_three_ways(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    listed = capsys.readouterr().out
    for option in ("-c, --config-path", "-c64, --config-base64", "-sync64, --sync-base64"):
        assert option in listed


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("nonsense",), 2, "nonsense"),
        (("status", "--nonsense"), 2, "nonsense"),
        (("link", "self-hosted"), 2, "--api-url"),
        (("migrate",), 1, "direction"),
        (("start", "--nonsense"), 1, "nonsense"),
        (("migrate", "sideways"), 1, "migrate up"),
        (("migrate", "up", "--to", "1"), 1, "--to"),
        (("compact", "-b", "all,1#x[]"), 1, "no full bucket names: all."),
        (("teardown",), 150, "PSYNC_S0102"),
        (("teardown", "yes"), 150, "PSYNC_S0102"),
        (("start", "-r", "x"), 150, "unified, api, sync"),
        (("start", "-c64", "%%"), 150, "-c64 is not base64"),
        (("test-connection", "-c", "/nowhere/x.yaml"), 150, "/nowhere/x.yaml"),
    ],
)
def test_a_wrong_line_is_explained_and_touches_nothing(
    arguments: tuple[str, ...],
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *arguments) == code
    assert says in capsys.readouterr().err
