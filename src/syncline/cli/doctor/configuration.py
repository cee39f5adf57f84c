"""Whether service.yaml can be used."""

from __future__ import annotations

from syncline.cli.doctor.case import Case
from syncline.cli.doctor.verdicts import Verdict, fault, healthy, unjudged
from syncline.cli.service_file import load_service_file
from syncline.errors import ConfigError

__all__ = ["configuration"]


def configuration(case: Case) -> Verdict:
    """Read the configuration as the service does. Variables that are not set here are noted: the service may have them."""
    if not case.config_path.exists():
        return unjudged(f"there is no {case.config_path} here: --config-path names another")
    try:
        case.loaded = load_service_file(case.config_path, case.environment)
    except ConfigError as exc:
        fix = exc.hint or f"Mend {case.config_path}; `syncline validate` checks it alone."
        return fault(f"[{exc.error_code}] {exc.message}", fix)
    unset = case.loaded.unset
    notes = [f"Not set here, so not looked at: {', '.join(unset)}."] if unset else []
    return healthy(*case.loaded.config.notes, *notes)
