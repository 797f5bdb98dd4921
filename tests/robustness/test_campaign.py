"""Every failpoint kills its service in the middle of a plan: `make robustness`. A sample runs with all tests.

What was found by it stands in README.md beside this file.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from robust_runs import Result, Run, all_runs, carry_out, table
from robust_site import besieged

ONLY = os.environ.get("TRIMTAB_ROBUSTNESS_ONLY", "").split(",")
"""Parts of names, separated by commas, to repeat some runs by hand."""
PUBLISHER = ("outbox", "publisher")
"""The one lease that is held for as long as api runs."""
SAMPLE = (
    Run("applier.write.after"),
    Run("decision.publish.after"),
    Run("api.audit.created"),
)


def campaign(folder: Path, runs: list[Run], *, appliers: int, database: str | None) -> list[Result]:
    results: list[Result] = []
    with besieged(folder, appliers=appliers, database=database) as site:
        for run in runs:
            results.append(carry_out(site, run))
            print(table(results[-1:]).splitlines()[1], flush=True)  # noqa: T201, hours pass between
        held = [lease for lease in site.held_leases() if lease != PUBLISHER]
    print(table(results))  # noqa: T201, the table is what it is for
    assert not held, f"leases that nobody gave back: {held}"
    return results


def check(results: list[Result]) -> None:
    bad = {str(result.run): result.problems for result in results if result.problems}
    assert not bad


def chosen(*, appliers: int) -> list[Run]:
    return [run for run in all_runs(appliers=appliers) if any(o in str(run) for o in ONLY)]


@pytest.mark.req("B-291")
@pytest.mark.timeout(300)
def test_a_sample_of_the_failpoints_with_one_applier(tmp_path):
    check(campaign(tmp_path, list(SAMPLE), appliers=1, database=None))


@pytest.mark.robustness
@pytest.mark.timeout(4 * 3600)
def test_every_failpoint_with_one_applier_on_sqlite(tmp_path):
    check(campaign(tmp_path, chosen(appliers=1), appliers=1, database=None))


@pytest.mark.robustness
@pytest.mark.timeout(4 * 3600)
def test_every_failpoint_with_two_appliers_on_mariadb(tmp_path, mariadb_url):
    check(campaign(tmp_path, chosen(appliers=2), appliers=2, database=mariadb_url))


@pytest.mark.robustness
@pytest.mark.timeout(4 * 3600)
def test_every_failpoint_with_two_appliers_on_postgresql(tmp_path, postgres_url):
    check(campaign(tmp_path, chosen(appliers=2), appliers=2, database=postgres_url))
