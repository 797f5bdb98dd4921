"""A few seconds of the oracle for each compute strategy; `oracle.py` beside this runs for hours."""

import itertools
import time

import pytest
from oracle import check
from subjects import SUBJECTS

from trimtab_decision.plugins import STRATEGIES

CPU_S = 8.0
FEWEST = 20
ONCE_BROKEN = (
    # the walk can empty another host after the search found none; a second audit then did
    ("basic", 101_984),
    ("basic", 102_169),
    ("basic", 102_406),
    # a second audit once emptied 10 % more; why it does not any longer was not looked for
    ("vm_workload_consolidation", 100_153),
)


def test_every_compute_strategy_is_a_subject():
    assert set(SUBJECTS) == {s.name for s in STRATEGIES if s.needs_compute_model}


@pytest.mark.timeout(300)
@pytest.mark.req("B-043", "B-039", "C-099")
@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_the_promises_hold_on_random_clouds(name):
    started = time.process_time()
    outcomes = set()
    for seed in itertools.count():
        if seed >= FEWEST and time.process_time() - started > CPU_S:
            break
        outcomes.add(check(name, seed))
    assert "planned" in outcomes


@pytest.mark.req("B-043")
@pytest.mark.parametrize(("name", "seed"), ONCE_BROKEN)
def test_a_promise_that_was_broken_once_is_kept(name, seed):
    assert check(name, seed) == "planned"
