"""A machine reassignment of the ROADEF/EURO challenge 2012 by Trimtab's optimizer; one JSON object.

    python -m tests.perf.roadef MODEL ASSIGNMENT --seconds 60 [--threads 2] [--seed 1]

`cost` is the official objective, computed apart from the search; `bound` is what no assignment can
cost less than; `violations` counts broken rules of the answer (0). Seconds are wall, from the first
move on: reading the files and compiling are told apart (`setup_s`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.perf.roadef_checker import official_cost, violations
from tests.perf.roadef_instances import problem_of, read_instance
from trimtab_decision.optimizer.reassignment import Budget, lower_bound, search


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("assignment", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--moves", type=int, help="moves a thread, instead of seconds: repeatable")
    parser.add_argument("--cpu", action="store_true", help="seconds are CPU seconds of a thread")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the assignment here")
    options = parser.parse_args()
    began = time.monotonic()
    instance = read_instance(options.model, options.assignment)
    problem = problem_of(instance)
    search(problem, Budget(moves=1), options.seed)  # compiles, or loads what was compiled
    setup_s = time.monotonic() - began
    seconds = None if options.moves else options.seconds
    budget = Budget(
        seconds=seconds, moves=options.moves, threads=options.threads, is_cpu=options.cpu
    )
    began = time.monotonic()
    answer = search(problem, budget, options.seed)
    wall_s = time.monotonic() - began
    assignment = [int(machine) for machine in answer.host]
    broken = violations(instance, assignment)
    initial = official_cost(instance, instance.assignment)
    cost = official_cost(instance, assignment)
    if options.out:
        options.out.write_text(" ".join(map(str, assignment)) + "\n")
    found = {
        "cost": cost,
        "bound": lower_bound(problem),
        "violations": len(broken),
        "moves": sum(a != b for a, b in zip(assignment, instance.assignment, strict=True)),
        "cpu_s": round(answer.cpu_s, 2),
        "seed": options.seed,
        "initial_cost": initial,
        "wall_s": round(wall_s, 2),
        "setup_s": round(setup_s, 2),
        "costs_of_rounds": answer.costs,
        "evaluated": answer.evaluated,
        "is_cost_confirmed": cost == answer.cost,
    }
    print(json.dumps(found))
    return int(bool(broken) or cost != answer.cost)


if __name__ == "__main__":
    sys.exit(main())
