"""Says which requirements the last test run did not prove.

Tests carry `@pytest.mark.req("A-014")`; tests/conftest.py writes these marks into the JUnit file
of `make test`. A requirement is proved when at least one of its tests passed and none failed.

The ids come from the requirement pages of the folder that TRIMTAB_REFERENCE names, when it is set,
else from docs/requirements-ids.txt (`--write-ids` remakes that file from the pages).
Exit 0 whatever is unproved: this is a report. Exit 1 when a test names an unknown id, 2 without input.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
COMMITTED_IDS = ROOT / "docs" / "requirements-ids.txt"
JUNIT = ROOT / "build" / "junit.xml"
AREAS = {
    "A": "API, lifecycles, notifications, access",
    "B": "goals, strategies, actions, applier, scoring",
    "C": "models, scope, datasources, clients",
}
ID_LINE = re.compile(r"^([A-Z]-\d{3}) \|", re.MULTILINE)
NOT_PASSED = {"failure": "failed", "error": "failed", "skipped": "skipped"}


@dataclass(frozen=True, slots=True)
class Report:
    """What a run says about each id; the three tuples are disjoint and sorted."""

    proved: tuple[str, ...]
    failing: tuple[str, ...]
    unproved: tuple[str, ...]
    unknown: tuple[str, ...]


def read_ids(reference: Path | None) -> tuple[str, ...]:
    """The requirement ids, from the pages below `reference` or from the committed list."""
    if reference is None:
        return tuple(COMMITTED_IDS.read_text(encoding="utf-8").split())
    pages = sorted((reference / "requirements").glob("*.md"))
    ids = {i for page in pages for i in ID_LINE.findall(page.read_text(encoding="utf-8"))}
    if not ids:
        raise SystemExit(
            f"no requirement pages in {reference / 'requirements'}: check TRIMTAB_REFERENCE"
        )
    return tuple(sorted(ids))


def read_outcomes(junit: Path) -> dict[str, Counter[str]]:
    """Per id how many of its tests passed, failed or were skipped."""
    outcomes: dict[str, Counter[str]] = {}
    for case in ET.parse(junit).getroot().iter("testcase"):  # noqa: S314, our own test run wrote it
        states = [NOT_PASSED[child.tag] for child in case if child.tag in NOT_PASSED]
        outcome = min(states, default="passed")
        for entry in case.findall("./properties/property[@name='req']"):
            outcomes.setdefault(entry.get("value", ""), Counter())[outcome] += 1
    return outcomes


def judge(ids: Iterable[str], outcomes: dict[str, Counter[str]]) -> Report:
    """Sorts the ids by what their tests showed."""
    known = sorted(set(ids))
    failing = [i for i in known if i in outcomes and outcomes[i]["failed"]]
    proved = [i for i in known if i in outcomes and outcomes[i]["passed"] and i not in failing]
    seen = {*failing, *proved}
    return Report(
        proved=tuple(proved),
        failing=tuple(failing),
        unproved=tuple(i for i in known if i not in seen),
        unknown=tuple(sorted(set(outcomes) - set(known))),
    )


def show(report: Report) -> None:
    """Prints the unproved ids by area, then a count per area."""
    for area, title in AREAS.items():
        missing = [i for i in report.unproved if i.startswith(area)]
        if missing:
            print(f"{area}: {title}: without a passing test")
            for start in range(0, len(missing), 12):
                print("  " + " ".join(missing[start : start + 12]))
    if report.failing:
        print("with a failing test: " + " ".join(report.failing))
    if report.unknown:
        print("named by a test but not a requirement: " + " ".join(report.unknown))
    for area, title in AREAS.items():
        done, failing, missing_count = (
            sum(i.startswith(area) for i in group)
            for group in (report.proved, report.failing, report.unproved)
        )
        print(f"{area}: {done} of {done + failing + missing_count} proved ({title})")
    total = len(report.proved) + len(report.failing) + len(report.unproved)
    print(f"all: {len(report.proved)} of {total} proved")


def main(arguments: Sequence[str]) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--junit", type=Path, default=JUNIT, help="the JUnit file to read")
    parser.add_argument("--write-ids", action="store_true", help="remake docs/requirements-ids.txt")
    options = parser.parse_args(arguments)
    named = os.environ.get("TRIMTAB_REFERENCE")
    reference = Path(named) if named else None
    if options.write_ids:
        if reference is None:
            print("--write-ids reads the requirement pages: set TRIMTAB_REFERENCE")
            return 2
        COMMITTED_IDS.write_text("\n".join(read_ids(reference)) + "\n", encoding="utf-8")
        return 0
    if not options.junit.is_file():
        print(f"{options.junit} is missing: run `make test` first")
        return 2
    report = judge(read_ids(reference), read_outcomes(options.junit))
    show(report)
    return 1 if report.unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
