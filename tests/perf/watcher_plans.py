"""Runs the reference's `peer/bench_watcher.py` in a venv with python-watcher, and keeps the actions of each plan too.

That program tells what a plan is worth, not what it does; whether the plan breaks a rule is for our verifier to say.

    VENV/bin/python watcher_plans.py REFERENCE/peer/bench_watcher.py cluster.json -o result.json ...
"""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    spec = importlib.util.spec_from_file_location("bench_watcher", sys.argv[1])
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    worth = bench.quality

    def with_actions(cluster, actions=()):
        kept = [
            {"action_type": one["action_type"], "input_parameters": dict(one["input_parameters"])}
            for one in actions
        ]
        return {**worth(cluster, actions), "plan": kept}

    bench.quality = with_actions
    del sys.argv[1]
    bench.main()


if __name__ == "__main__":
    main()
