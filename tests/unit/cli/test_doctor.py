"""How `doctor` walks through its checks, and what it prints; and hints for hosted databases that no test can reach."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from syncline.cli.doctor import clocks, slots, source
from syncline.cli.doctor.case import Case, Check, examine
from syncline.cli.doctor.checks import CHECKS
from syncline.cli.doctor.http import Answer
from syncline.cli.doctor.source_facts import Slot, SourceFacts
from syncline.cli.doctor.verdicts import Outcome, Verdict, fault, healthy, unjudged
from syncline.cli.service_file import LoadedServiceFile
from syncline.replication.postgres.checks import MissingSetup, SetupStep
from syncline.service.config import load_config


def case(host: str = "db.example.com") -> Case:
    text = f"replication:\n  connections:\n  - {{type: postgresql, uri: 'postgresql://u@{host}/x', sslmode: disable}}\n"
    encoded = base64.b64encode(text.encode()).decode()
    config = load_config(base64_text=encoded, environment={}, working_directory=Path())
    found = Case(Path("service.yaml"), Path("sync-config.yaml"), {}, "http://s", "http://s", "", 1.0)
    found.loaded = LoadedServiceFile(config, (), ())
    return found


def facts(*slots_there: Slot, setup: MissingSetup | None = None, slots_max: int = 10) -> SourceFacts:
    return SourceFacts(setup or MissingSetup([], [], [], []), [], slots_there, slots_max, 0.0, False)


def check(name: str, verdict: Verdict, *needs: str) -> Check:
    return Check(name, name.upper(), lambda _case: verdict, needs)


def test_a_fault_hides_what_hangs_on_it_and_nothing_else() -> None:
    checks = [
        check("a", healthy()),
        check("b", fault("B is broken.", "Mend b."), "a"),
        check("c", healthy(), "a", "b"),
        check("d", healthy(), "c"),
        check("e", fault("E is broken.", "Mend e."), "a"),
        check("f", unjudged("nobody knows")),
        check("g", healthy(), "f"),
    ]
    found = examine(case(), checks)
    assert found.first_failed == "b"
    reasons = {name: verdict.reason for name, _, verdict in found.verdicts if verdict.outcome is Outcome.SKIPPED}
    assert reasons == {"c": "b has failed", "d": "b has failed", "f": "nobody knows", "g": "nobody knows"}
    text = found.as_text()
    assert "✗ B [b]\n    B is broken.\n    fix: Mend b." in text
    assert "- C [c]\n    skipped: because b has failed" in text
    assert text.endswith("First cause: b\nB is broken.\nWhat to do:\nMend b.")
    value = found.as_value()
    assert value["checks"][2] == {"name": "c", "title": "C", "outcome": "skipped", "reason": "b has failed"}


def test_every_check_needs_only_those_before_it() -> None:
    names = [entry.name for entry in CHECKS]
    assert len(set(names)) == len(names)
    assert all(need in names[:place] for place, entry in enumerate(CHECKS) for need in entry.needs)


@pytest.mark.requirement(245)
def test_on_supabase_the_missing_publication_comes_with_where_to_make_it() -> None:
    step = SetupStep("There is none.", ("CREATE PUBLICATION powersync FOR ALL TABLES;",), code="PSYNC_S1141")
    hosted, own = case("db.abcdef.supabase.co"), case()
    for patient in (hosted, own):
        patient.source = facts(setup=MissingSetup([], [step], [], []))
    assert "SQL editor of Supabase" in source.publication(hosted).fix
    assert source.publication(hosted).fix.startswith("CREATE PUBLICATION powersync FOR ALL TABLES;")
    assert "Supabase" not in source.publication(own).fix


def test_slots_of_others_are_named_and_no_fault() -> None:
    patient = case()
    theirs = Slot("powersync_3_9f1c", "x", True, False, "reserved", 5 * 1024 * 1024)
    ours = Slot("syncline_1", "x", True, True, "reserved", 0)
    patient.source = facts(theirs, Slot("debezium", "y", False, False, "reserved", 0), ours, slots_max=3)
    verdict = slots.slots(patient)
    assert verdict.outcome is Outcome.OK
    assert verdict.notes == (
        "The slot powersync_3_9f1c is another sync service's, idle, and 5 MiB of log lie there for it. It is left alone.",
        "The slot debezium of database y is idle, and 0 MiB of log lie there for it.",
    )


@pytest.mark.parametrize("header", ["", "yesterday", "Tue, 99 Nov 2026 99:00:00 GMT"])
def test_a_date_that_cannot_be_read_is_not_judged(header: str) -> None:
    assert clocks.ahead_of_us_s(Answer(200, {"date": header})) is None
    assert clocks.service_clock(case()).outcome is Outcome.SKIPPED


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": 1}', b'{"detail": "Not Found"}'])
def test_an_answer_that_is_no_error_of_a_sync_service(body: bytes) -> None:
    assert Answer(404, {}, body).error == ("", "")
