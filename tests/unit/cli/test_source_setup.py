"""The statements for each kind of source: printed, and marked where that kind is not replicated yet."""

from __future__ import annotations

import sys

import pytest

from syncline.cli.main import main
from syncline.cli.source_setup import SOURCE_KINDS
from syncline.service.source_kinds import refused_source


@pytest.mark.requirement(244, 245)
@pytest.mark.parametrize("kind", SOURCE_KINDS)
def test_statements_of_a_kind(kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["syncline", "source", "setup", "--type", kind, "--print-sql"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    captured = capsys.readouterr()
    assert captured.out.strip() == SOURCE_KINDS[kind].statements.strip()
    assert ("not supported as a source yet" in captured.err) == (not SOURCE_KINDS[kind].is_supported)
    if SOURCE_KINDS[kind].is_supported:
        assert "CREATE PUBLICATION powersync" in captured.out


def test_what_is_said_to_be_supported_is_what_the_service_takes() -> None:
    for kind, found in SOURCE_KINDS.items():
        if kind != "supabase":  # a Postgres
            assert found.is_supported == (refused_source(kind) is None)
