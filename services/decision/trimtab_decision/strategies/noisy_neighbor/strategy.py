"""Noisy neighbor: the server that took the cache from a more important one goes elsewhere.

Goal: noisy_neighbor. Metric: instance_l3_cache_usage, over the last period and over the last two;
what it was before follows from both. Priority: metadata `watcher-priority`, 1 before 8, default 5.
Example with numbers: README.md beside this file, which a test runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.strategies.board import Board, drop_below_min_gain
from trimtab_decision.strategies.moves import add_migration
from trimtab_decision.strategies.noisy_neighbor import params
from trimtab_decision.strategies.readings import server_readings

METRIC = "instance_l3_cache_usage"
DEFAULT_PRIORITY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    host: int
    victim: int
    noisy: int
    priority: int


class NoisyNeighbor(Strategy):
    """Moves the noisy server of the most important victim."""

    name: ClassVar[str] = "noisy_neighbor"
    display_name: ClassVar[str] = "Noisy Neighbor"
    goal_name: ClassVar[str] = "noisy_neighbor"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    required_metrics: ClassVar[tuple[str, ...]] = (METRIC,)
    double_period_metrics: ClassVar[tuple[str, ...]] = (METRIC,)
    needs_compute_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Look at every host, then move one server (B-170..B-172)."""
        board, names = Board(context), context.snapshot.host_name
        change = _Change(context)
        findings = [
            finding
            for host in np.flatnonzero(board.masks.targets).tolist()
            if (finding := change.look_at(board, host)) is not None
        ]
        if not findings:
            solution.note(
                f"No server lost {100 * change.part:g} % of its cache to a less important neighbor; "
                "nothing to do."
            )
            return
        quiet = board.masks.targets.copy()
        quiet[[finding.host for finding in findings]] = False
        targets = np.flatnonzero(quiet)
        if board.moves_left < 1:
            return
        for finding in sorted(findings, key=lambda found: (found.priority, found.host)):
            fitting = board.destinations(finding.noisy, targets)
            if not len(fitting):
                board.count_refusals(solution, finding.noisy, targets)
                continue
            server_name, target = board.snapshot.server_name, int(fitting[0])
            other = board.others(finding.noisy, targets, fitting)
            reason = (
                f"{server_name[finding.noisy]} takes the cache of {server_name[finding.victim]} "
                f"(priority {finding.priority}) on {names[finding.host]}; {names[target]} is the "
                f"first quiet host with room{other}."
            )
            add_migration(solution, board.snapshot, finding.noisy, target, reason=reason)
            drop_below_min_gain(
                solution,
                gain_pct=100.0 / len(findings),
                min_gain_pct=context.parameters["min_gain"],
            )
            return
        solution.note("No quiet host has room for a noisy server.")


class _Change:
    """How the cache use of each server changed between the last two periods."""

    def __init__(self, context: StrategyContext) -> None:
        self.current = server_readings(context, METRIC)
        longer = context.metrics.server.get(f"{METRIC}_2p")
        if longer is None:
            raise MetricNotAvailable(f"Metric {METRIC} was not delivered over two periods.")
        self.previous = 2.0 * longer - self.current
        self.part = float(context.parameters["cache_threshold"]) / 100.0
        self.priority = _priorities(context)

    def look_at(self, board: Board, host: int) -> _Finding | None:
        """The first victim by priority and the least important noisy server behind it."""
        servers = board.servers_of(host)
        servers = servers[~np.isnan(self.previous[servers])]
        if len(servers) < 2:  # noqa: PLR2004, one alone has no neighbor
            return None
        order = servers[np.argsort(self.priority[servers], kind="stable")].tolist()
        for place, victim in enumerate(order):
            if not self.current[victim] < (1.0 - self.part) * self.previous[victim]:
                continue
            for noisy in reversed(order[place + 1 :]):
                is_louder = self.current[noisy] > (1.0 + self.part) * self.previous[noisy]
                if is_louder and board.active()[noisy]:
                    return _Finding(
                        host=host, victim=victim, noisy=noisy, priority=int(self.priority[victim])
                    )
            return None
        return None


def _priorities(context: StrategyContext) -> NDArray[np.int64]:
    """[V] `watcher-priority`; what is no whole number counts as the default."""
    result = np.full(context.snapshot.n_servers, DEFAULT_PRIORITY, dtype=np.int64)
    for server, metadata in context.snapshot.server_metadata.items():
        text = str(metadata.get("watcher-priority", "")).strip()
        if text.lstrip("-").isdigit() and len(text) < 10:  # noqa: PLR2004, what int64 surely holds
            result[server] = int(text)
    return result
