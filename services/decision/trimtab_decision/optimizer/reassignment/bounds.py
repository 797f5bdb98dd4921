"""What no placement can cost less than."""

from __future__ import annotations

import numpy as np

from trimtab_decision.optimizer.reassignment.problem import Reassignment


def lower_bound(problem: Reassignment) -> int:
    """Load and balance costs if all hosts were one: what is over in sum is over somewhere.

    Both costs are convex in what a host uses, so merging hosts never raises them.
    """
    capacity, load = problem.capacity, problem.load
    used = capacity.demand.sum(axis=0)
    total = int((np.maximum(0, used - load.safe.sum(axis=0)) * load.weight).sum())
    free = capacity.limit.sum(axis=0) - used
    for one in problem.balances:
        missing = int(one.ratio * free[one.first] - free[one.second])
        total += max(0, missing) * one.weight
    return total
