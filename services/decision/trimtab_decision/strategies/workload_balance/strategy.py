"""Workload balance: a server off the most loaded host, to the least loaded one.

Goal: workload_balancing. Metrics: instance_cpu_usage or instance_ram_usage. A host at or above the
threshold gives a server that brings it near the average; a host that stays below takes it, so no
later audit moves it back. Example with numbers: README.md beside this file, which a test runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import MEMORY_MIB, VCPU
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.strategies.board import Board, drop_below_min_gain
from trimtab_decision.strategies.moves import add_migration
from trimtab_decision.strategies.workload_balance import params


class WorkloadBalance(Strategy):
    """Threshold on the workload of a host."""

    name: ClassVar[str] = "workload_balance"
    display_name: ClassVar[str] = "Workload Balance Migration Strategy"
    goal_name: ClassVar[str] = "workload_balancing"
    planner: ClassVar[str] = "workload_stabilization"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    required_metrics: ClassVar[tuple[str, ...]] = ("instance_cpu_usage",)
    optional_metrics: ClassVar[tuple[str, ...]] = ("instance_ram_usage",)
    needs_compute_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Move servers one by one until the limit, or until nothing is above the threshold."""
        field = _Field(context, solution)
        before = field.excess()
        while field.board.moves_left > 0 and not field.board.is_out_of_time() and field.move_one():
            pass
        gain_pct = 100.0 * (1.0 - field.excess() / before) if before else 0.0
        min_gain_pct = context.parameters["min_gain"]
        drop_below_min_gain(solution, gain_pct=gain_pct, min_gain_pct=min_gain_pct)
        if not before:
            solution.note(field.quiet_text())
        elif not solution.actions:
            solution.note("Hosts are above the threshold, but no server of theirs fits elsewhere.")

    def post_execute(self, context: StrategyContext, solution: Solution) -> None:
        """The indicators of workload_balancing."""
        solution.set_indicator("instance_migrations_count", solution.count("migrate"))
        solution.set_indicator("instances_count", context.snapshot.n_servers)


class _Field:
    """Workloads that follow the planned moves."""

    def __init__(self, context: StrategyContext, solution: Solution) -> None:
        self.board, self.solution = Board(context), solution
        snapshot, metric = self.board.snapshot, context.parameters["metrics"]
        column = context.metrics.server.get(metric)
        if column is None:
            raise MetricNotAvailable(f"Metric {metric} was not delivered for any server.")
        is_cpu = metric == "instance_cpu_usage"
        amount = column / 100.0 * snapshot.server_demand[:, VCPU] if is_cpu else column
        self.measured = ~np.isnan(amount)
        self.amount = np.nan_to_num(amount)
        total = snapshot.host_inventory[:, VCPU if is_cpu else MEMORY_MIB]
        self.counted = self.board.masks.targets & (total > 0)
        self.total = np.maximum(total.astype(np.float64), 1.0)
        mapped = self.board.mapped()
        self.workload = np.bincount(
            snapshot.server_host[mapped],
            weights=self.amount[mapped],
            minlength=snapshot.n_hosts,
        )
        self.threshold = float(context.parameters["threshold"])
        self.candidates = self.board.active() & self.measured & (self.amount > 0)

    def used_pct(self) -> NDArray[np.float64]:
        return np.asarray(self.workload / self.total * 100.0, dtype=np.float64)

    def excess(self) -> float:
        """Percent points above the threshold, over all hosts that count."""
        above = self.used_pct()[self.counted] - self.threshold
        return float(above[above >= 0].sum() + (above >= 0).sum() * 1e-9)

    def quiet_text(self) -> str:
        """That no host is above the threshold, and how near the nearest is."""
        text = f"No host is at or above the threshold of {self.threshold:g} %"
        used = np.where(self.counted, self.used_pct(), -1.0)
        if self.counted.any():
            most = int(np.argmax(used))
            name = self.board.snapshot.host_name[most]
            text += f": the most loaded one, {name}, is at {used[most]:.1f} %"
        return text + "; nothing to do."

    def move_one(self) -> bool:
        """Plan the best move from the most loaded host that has one; False when there is none."""
        used = self.used_pct()
        average = float(self.workload[self.counted].mean()) if self.counted.any() else 0.0
        sources = np.flatnonzero(self.counted & (used >= self.threshold))
        below = np.flatnonzero(self.counted & (used < self.threshold))
        below = below[np.argsort(used[below], kind="stable")]
        for source in sources[np.argsort(-used[sources], kind="stable")].tolist():
            for server in self._leaving(source, average):
                after = (self.workload[below] + self.amount[server]) / self.total[below] * 100.0
                staying = below[after < self.threshold]
                targets = self.board.destinations(server, staying)
                if len(targets):
                    other = self.board.others(server, staying, targets)
                    self._plan(server, source, target=int(targets[0]), other=other)
                    return True
                self._count_refusals(server, below, after)
        return False

    def _count_refusals(
        self, server: int, below: NDArray[np.intp], after: NDArray[np.float64]
    ) -> None:
        """What kept a server from hosts below the threshold: the threshold itself, or the rules."""
        over = after >= self.threshold
        if over.any():
            self.solution.rejections["target would reach the threshold"] += int(over.sum())
        self.board.count_refusals(self.solution, server, below[~over])

    def _leaving(self, source: int, average: float) -> Iterator[int]:
        """The servers that may leave: nearest to what the host is above the average (B-141)."""
        servers = self.board.servers_of(source)
        servers = servers[self.candidates[servers] & (self.board.placement.host[servers] == source)]
        rest = self.workload[source] - average - self.amount[servers]
        fit = servers[rest >= 0]
        if too_large := len(servers) - len(fit):
            self.solution.rejections["server larger than the host's excess"] += too_large
        yield from fit[np.argsort(rest[rest >= 0], kind="stable")].tolist()

    def _plan(self, server: int, source: int, *, target: int, other: str) -> None:
        names, used = self.board.snapshot.host_name, self.used_pct()
        reason = (
            f"{names[source]} is at {used[source]:.1f} %, at or above {self.threshold:g} %; "
            f"{names[target]} is at {used[target]:.1f} % and stays below{other}."
        )
        add_migration(self.solution, self.board.snapshot, server, target, reason=reason)
        self.board.placement.move(server, target)
        self.candidates[server] = False
        self.workload[source] -= self.amount[server]
        self.workload[target] += self.amount[server]
