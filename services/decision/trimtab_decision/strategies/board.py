"""What a compute strategy works on: the hard rules as masks, the room left, the limits of this run.

One board serves one execution. Every move goes through it, so that no strategy forgets server
groups, scheduler filters, the selection of destinations or `max_migrations` (B-050..B-059).
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import NO_HOST, VCPU, MetricsTable
from trimtab_decision.framework import Solution, StrategyContext
from trimtab_decision.optimizer.dimensions import Dimensions, allocations
from trimtab_decision.optimizer.eligibility import LIVE_STATES, eligibility
from trimtab_decision.optimizer.restrictions import Restrictions
from trimtab_decision.optimizer.state import Placement


class Board:
    """Masks, placement and limits. `dims`: measured dimensions too; default is allocation alone."""

    def __init__(
        self,
        context: StrategyContext,
        *,
        dims: Dimensions | None = None,
        move_locked: bool = False,
    ) -> None:
        given = context.parameters
        self.context = context
        self.snapshot = context.snapshot
        self.given = given
        self.masks = eligibility(
            self.snapshot,
            check_optimize_metadata=bool(given.get("check_optimize_metadata", False)),
            move_locked=move_locked,
            filters=context.filters,
        )
        self.dims = allocations(self.snapshot) if dims is None else dims
        self.placement = Placement(
            self.dims,
            self.snapshot.server_host,
            Restrictions(self.snapshot, filters=context.filters, selector=context.selector),
        )
        limit = given.get("max_migrations")
        self.max_migrations: int = sys.maxsize if limit is None else int(limit)

    @property
    def moves_left(self) -> int:
        """How many more servers may move."""
        return self.max_migrations - self.placement.n_moved()

    def is_out_of_time(self) -> bool:
        """Whether `time_limit_s` is over; what was found by then counts."""
        limit = self.given.get("time_limit_s")
        return limit is not None and self.context.elapsed_s() >= float(limit)

    def in_use(self) -> NDArray[np.bool_]:
        """[H] hosts with servers, with the planned moves done."""
        host = self.placement.host
        counts = np.bincount(host[host >= 0], minlength=self.snapshot.n_hosts)
        return np.asarray(counts > 0, dtype=np.bool_)

    def settled_free(self) -> NDArray[np.float64]:
        """[H, 3] room in vCPU, memory and disk, with the planned moves done."""
        used = np.zeros((self.snapshot.n_hosts, 3))
        mapped = self.placement.host >= 0
        np.add.at(used, self.placement.host[mapped], self.snapshot.server_demand[mapped])
        return self.snapshot.capacity() - used

    def moved_cpu(self, metrics: MetricsTable) -> NDArray[np.float64]:
        """[H] by how much the planned moves change the measured cpu of each host, 1 is all of it."""
        snapshot, placement = self.snapshot, self.placement
        change = np.zeros(snapshot.n_hosts)
        moved = np.flatnonzero(placement.host != placement.origin)
        usage = metrics.server.get("instance_cpu_usage")
        if usage is None or not len(moved):
            return change
        cores = np.nan_to_num(usage[moved]) / 100.0 * snapshot.server_demand[moved, VCPU]
        vcpus = np.maximum(snapshot.host_inventory[:, VCPU], 1)
        source, target = placement.origin[moved], placement.host[moved]
        np.subtract.at(change, source, cores / vcpus[source])
        np.add.at(change, target, cores / vcpus[target])
        return change

    def servers_of(self, host: int) -> NDArray[np.intp]:
        """The servers that are on this host now, by uuid."""
        return np.flatnonzero(self.snapshot.server_host == host)

    def active(self) -> NDArray[np.bool_]:
        """[V] movable servers that run."""
        running = self.snapshot.server_state == int(LIVE_STATES[0])
        return np.asarray(self.masks.movable & running, dtype=np.bool_)

    def live(self) -> NDArray[np.bool_]:
        """[V] movable servers that can move live."""
        states = [int(state) for state in LIVE_STATES]
        can = np.isin(self.snapshot.server_state, states)
        return np.asarray(self.masks.movable & can, dtype=np.bool_)

    def destinations(self, server: int, hosts: NDArray[np.intp]) -> NDArray[np.intp]:
        """Of these hosts, in their order, those that may take the server and have room.

        Up and enabled, inside its zone, past groups, filters and selection; never its own.
        """
        allowed = self.masks.targets & self.masks.class_hosts[self.masks.server_class[server]]
        chosen = hosts[allowed[hosts] & (hosts != self.placement.host[server])]
        fits = self.placement.fitting(server, chosen)
        return np.asarray(chosen[fits], dtype=np.intp)

    def why_not(self, server: int, hosts: NDArray[np.intp]) -> dict[str, int]:
        """Constraint -> how many of these hosts it rules out for the server, the first one found."""
        counts: dict[str, int] = {}
        for host in hosts.tolist():
            if host != self.snapshot.server_host[server]:
                reason = self._ruled_out_by(server, host)
                counts[reason] = counts.get(reason, 0) + 1
        return counts

    def others(self, server: int, ranked: NDArray[np.intp], fitting: NDArray[np.intp]) -> str:
        """For the reason of a move: the next best host, and what ruled out the best that did not fit.

        ranked: hosts, the best first; fitting: those of them that can take it, in that order.
        """
        names, home = self.snapshot.host_name, int(self.snapshot.server_host[server])
        text = f"; next best {names[fitting[1]]}" if len(fitting) > 1 else ""
        before = [host for host in ranked.tolist() if host != home]
        for host in before[: before.index(int(fitting[0]))]:
            return f"{text}; {names[host]} is ruled out by {self._ruled_out_by(server, host)}"
        return text

    def _ruled_out_by(self, server: int, host: int) -> str:
        masks = self.masks
        lacking = self.placement.demand[server] > self.placement.free[host] + 1e-6
        if not masks.targets[host]:
            return "host down or disabled"
        if not masks.class_hosts[masks.server_class[server], host]:
            return "availability zone or filter"
        if lacking.any():
            return self.dims.names[int(np.argmax(lacking))]
        return "server group or filter"

    def count_refusals(self, solution: Solution, server: int, hosts: NDArray[np.intp]) -> None:
        """Adds to the solution's rejections what kept this server from these hosts."""
        solution.rejections.update(self.why_not(server, hosts))

    def mapped(self) -> NDArray[np.bool_]:
        """[V] servers on a host of the model."""
        return np.asarray(self.snapshot.server_host != NO_HOST, dtype=np.bool_)


def drop_below_min_gain(solution: Solution, *, gain_pct: float, min_gain_pct: float) -> bool:
    """Throw the plan away when it gains less than was asked; whether it was."""
    solution.stats["gain_pct"] = round(gain_pct, 6)
    if gain_pct >= min_gain_pct or not solution.actions:
        return False
    solution.discard_actions()
    solution.note(
        f"The best plan found gains {gain_pct:.2f} %, less than min_gain of {min_gain_pct:g} %; "
        "nothing is planned."
    )
    return True
