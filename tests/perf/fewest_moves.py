"""How few moves could free as many hosts, by an exact MILP: is what a consolidation leaves open for want of search?

Whole hosts are chosen, resources are only summed up, and empty hosts stay empty. So no plan needs fewer moves for its hosts
than told here, and none frees more than the most told here.

    .venv/bin/python tests/perf/fewest_moves.py --sizes 100/2000 --seeds 1,2,3
    .venv/bin/python tests/perf/fewest_moves.py cluster.json ...
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from synthetic_clouds import synthetic_cloud

from trimtab_common.wire.cluster_file import load_cluster_file
from trimtab_decision.optimizer.dimensions import allocations
from trimtab_decision.optimizer.eligibility import eligibility
from trimtab_decision.simulate import simulate

GIVEN = {
    "vm_workload_consolidation": {},
    "node_resource_consolidation": {"host_choice": "specify"},
}
LIMIT_S = 20


class Fewest:
    """The MILP of one cloud."""

    def __init__(self, snapshot) -> None:
        dims, masks = allocations(snapshot), eligibility(snapshot)
        counts = np.bincount(snapshot.server_host, minlength=snapshot.n_hosts)
        going = np.bincount(snapshot.server_host[masks.movable], minlength=snapshot.n_hosts)
        load = np.zeros_like(dims.free)
        np.add.at(load, snapshot.server_host[masks.movable], dims.demand[masks.movable])
        room = np.where((masks.targets & (counts > 0))[:, None], np.maximum(dims.free, 0.0), 0.0)
        closable = np.flatnonzero((counts > 0) & (counts == going))
        self.servers = counts[closable].astype(np.float64)
        self.given_up, self.room = (room + load)[closable], room.sum(axis=0)

    def solved(self, cost, least: int):
        """Of at least so many hosts those of lowest cost; None when there are none."""
        rows = np.vstack([self.given_up.T, np.ones(len(self.servers))])
        lower = np.append(np.full(len(self.room), -np.inf), least)
        found = milp(
            cost,
            constraints=LinearConstraint(rows, lower, np.append(self.room, np.inf)),
            integrality=np.ones(len(cost)),
            bounds=Bounds(0, 1),
            options={"time_limit": LIMIT_S, "mip_rel_gap": 0.0},
        )
        if found.status not in {0, 2}:
            raise TimeoutError(f"no answer within {LIMIT_S} s")
        return None if found.x is None else round(found.fun)

    def moves(self, hosts: int) -> int | None:
        return self.solved(self.servers, hosts)

    def most(self) -> int:
        return -self.solved(-np.ones(len(self.servers)), 0)


def clouds(options) -> Iterator[tuple[str, tuple]]:
    for path in options.files:
        yield path.stem, load_cluster_file(path)
    for size in [] if options.files else options.sizes.split(","):
        for seed in options.seeds.split(","):
            yield f"{size}, seed {seed}", synthetic_cloud(*map(int, size.split("/")), int(seed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--sizes", default="100/2000")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    options = parser.parse_args()
    head = ("cloud", "strategy", "hosts freed", "at most", "moves", "at least", "one more host")
    for cells in (head, ["---"] * len(head)):
        print("| " + " | ".join(cells) + " |")
    for name, cloud in clouds(options):
        exact = Fewest(cloud[0])
        most = exact.most()
        for strategy, given in GIVEN.items():
            report = simulate(*cloud, "server_consolidation", strategy, parameters=given)
            freed = report.hosts_in_use_before - report.hosts_in_use_after
            more = exact.moves(freed + 1) if freed < most else None
            cells = [
                name,
                strategy,
                freed,
                most,
                report.migrations,
                exact.moves(freed),
                more or "-",
            ]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
