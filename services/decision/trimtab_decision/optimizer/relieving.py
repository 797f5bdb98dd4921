"""Servers off overloaded hosts first (B-103): the fewest moves that end the overload."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.dimensions import Dimensions
from trimtab_decision.optimizer.eligibility import Eligibility
from trimtab_decision.optimizer.placing import Move
from trimtab_decision.optimizer.state import Placement


@dataclass(slots=True, kw_only=True)
class Relief:
    """What was moved. `enabled`: own disabled hosts used; `remaining`: hosts still overloaded."""

    moves: list[Move] = field(default_factory=list)
    enabled: set[int] = field(default_factory=set)
    remaining: list[int] = field(default_factory=list)

    def settled(self, placement: Placement, masks: Eligibility) -> Relief:
        """The same after the hosts that took servers were emptied again: last targets alone count.

        A server makes one move, and a host that takes nobody in the end is not enabled (B-107).
        """
        moves = [
            replace(move, target=int(placement.host[move.server]))
            for move in self.moves
            if placement.host[move.server] != move.source
        ]
        targets = {move.target for move in moves}
        enabled = {host for host in targets if masks.own_disabled[host]}
        return Relief(moves=moves, enabled=enabled, remaining=list(self.remaining))


def relieve(
    placement: Placement,
    dims: Dimensions,
    masks: Eligibility,
    in_use: NDArray[np.bool_],
    *,
    max_moves: int = sys.maxsize,
) -> Relief:
    """Move servers off overloaded hosts until each is below its limit, or nothing fits.

    Targets: hosts in use, tightest first, then empty ones, then hosts that we disabled.
    """
    relief = Relief()
    inside = masks.targets | masks.own_disabled
    sources = np.flatnonzero(dims.overloaded & inside)
    tiers = (
        masks.targets & in_use & ~dims.overloaded,
        masks.targets & ~in_use,
        masks.own_disabled & ~dims.overloaded,
    )
    for source in sources[np.argsort(-dims.cpu_excess[sources], kind="stable")]:
        excess = float(dims.cpu_excess[source])
        candidates = list(np.flatnonzero(masks.movable & (placement.host == source)))
        while excess > 0 and candidates and len(relief.moves) < max_moves:
            server = _pick(candidates, dims.cpu_cores, excess)
            candidates.remove(server)
            target = _target(placement, masks, int(server), tiers)
            if target is None:
                continue
            placement.move(int(server), target)
            relief.moves.append(Move(server=int(server), source=int(source), target=target))
            excess -= float(dims.cpu_cores[server])
            if masks.own_disabled[target]:
                relief.enabled.add(target)
        if excess > 0:
            relief.remaining.append(int(source))
    return relief


def _pick(candidates: list[np.intp], cores: NDArray[np.float64], excess: float) -> np.intp:
    """The smallest server that alone ends the overload, else the largest."""
    enough = [server for server in candidates if cores[server] >= excess]
    if enough:
        return min(enough, key=lambda server: (cores[server], server))
    return max(candidates, key=lambda server: (cores[server], -server))


def _target(
    placement: Placement, masks: Eligibility, server: int, tiers: tuple[NDArray[np.bool_], ...]
) -> int | None:
    allowed = masks.class_hosts[masks.server_class[server]]
    for tier in tiers:
        hosts = np.flatnonzero(tier & allowed)
        hosts = hosts[placement.fitting(server, hosts)]
        if len(hosts):
            room = placement.free[hosts, 0]
            return int(hosts[np.argmin(room)])
    return None
