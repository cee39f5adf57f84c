"""How a case of `tests/fixtures/sync_config/cases/patterns` looks in docs/howto/sync-config-patterns.md."""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.sync_config_cases import Case, ExpectedConnection

__all__ = ["pattern_blocks"]


def pattern_blocks(case: Case) -> tuple[str, str]:
    """The config as a code block, and a table of what each connection sees, at first and after each step."""
    titles = ["", "sees", *(f"when {step.title}" for step in case.then)]
    after = [{connection.name: connection.expect for connection in step.connections} for step in case.then]
    lines = [_line(titles), "|---" * len(titles) + "|"]
    for connection in case.connections:
        later = [_seen(step[connection.name]) for step in after]
        lines.append(_line([connection.name, _seen(connection.expect), *later]))
    return f"```yaml\n{case.config}```", "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _seen(expected: ExpectedConnection) -> str:
    assert expected.sees is not None, "a pattern says what each connection sees, in every step"
    parts = [f"{table}: {', '.join(map(str, rows))}" for table, rows in expected.sees.items()]
    return "; ".join(parts) or "nothing"
