"""A repair of BtrPlace's benchmark (IEEE TDSC 2013) by Trimtab's optimizer; one JSON object.

    python -m tests.perf.btrplace FILE

`cost` is the number of migrations, `bound` the fewest any repair has, `moves` migrations and starts
of VMs; `violations` comes from a replay step by step that shares no code with the search. `cpu_s` is
the planning alone: the file is read before.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tests.perf.btrplace_checker import violations
from tests.perf.btrplace_instances import problem_of, read_instance
from trimtab_decision.optimizer.repairing import repair


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="told again; the repair draws no lots")
    options = parser.parse_args()
    instance = read_instance(options.file)
    problem = problem_of(instance)
    began = time.process_time()
    found = repair(problem)
    cpu_s = time.process_time() - began
    moves = [(instance.vms[vm], instance.nodes[node]) for vm, node in found.moves]
    broken = violations(instance, moves)
    answer = {
        "cost": found.migrations,
        "bound": found.bound,
        "violations": len(broken),
        "moves": len(moves),
        "cpu_s": round(cpu_s, 3),
        "seed": options.seed,
        "unplaced": len(found.unplaced),
        "nodes": len(instance.nodes),
        "vms": len(instance.vms),
    }
    print(json.dumps(answer))
    return int(bool(broken) or bool(found.unplaced))


if __name__ == "__main__":
    sys.exit(main())
