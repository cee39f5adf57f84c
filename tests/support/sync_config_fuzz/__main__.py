"""`python -m tests.support.sync_config_fuzz SEED COUNT [--show NUMBER] [--try FILE]`: run trials, or look at one of them."""

from __future__ import annotations

import argparse
import json
import resource
import sys

from tests.support.sync_config_fuzz.run import mutation, run_trials
from tests.support.sync_config_fuzz.trial import try_config

ADDRESS_SPACE_BYTES = 2**31  # of this process: a trial that takes more ends in a MemoryError, not in the machine's


def main() -> None:
    """Print the report, and after it one line of JSON for the test."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("--show", type=int, metavar="NUMBER", help="print one mutation and how it ends")
    given = parser.parse_args()
    if given.show is not None:
        found = mutation(given.seed, given.show)
        print(found.mutators, ascii(found.text), try_config(found.text), sep="\n")
        return
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    report = run_trials(given.seed, given.count)
    print(report.text())
    summary = {
        "mutations": report.endings.total(),
        "plans": report.share("plan"),
        "query_problems": report.share("problems of queries"),
        "memory_bytes": report.memory_bytes,
        "wrong": len(report.wrong),
    }
    print(json.dumps(summary))
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
