"""Servers on fewer hosts: choose hosts to close, place their servers, again until nothing is left.

The search of all consolidation strategies. Each pass works on the result of the one before; a
server whose new host is closed later just ends elsewhere. So a second audit finds nothing to do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.bounds import hosts_bound
from trimtab_decision.optimizer.closing import ClosingProblem, hosts_to_close
from trimtab_decision.optimizer.dimensions import Dimensions
from trimtab_decision.optimizer.eligibility import Eligibility
from trimtab_decision.optimizer.incumbents import Improved, not_watched
from trimtab_decision.optimizer.packing import group_servers, scarcity
from trimtab_decision.optimizer.placing import Move, Placer
from trimtab_decision.optimizer.state import Placement

MAX_PASSES = 12


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Consolidation:
    """What was found.

    moves: one for each server that ends elsewhere;  emptied: [H]
    bound: hosts in use at least, whatever is moved within the limit
    """

    moves: list[Move]
    emptied: NDArray[np.bool_]
    bound: int
    packings: int
    passes: int
    rejections: Counter[str]


def consolidate(
    placement: Placement,
    dims: Dimensions,
    masks: Eligibility,
    *,
    keep: NDArray[np.bool_] | None = None,
    max_moves: int | None = None,
    is_over: Callable[[], bool] = lambda: False,
    to_the_last: bool = False,
    fair: float | None = None,
    improved: Improved = not_watched,
) -> Consolidation:
    """Empty as many hosts as is worth it, for few moves. Changes `placement`.

    keep: [H] hosts that are never closed. max_moves: moves that may be added.
    fair: see hosts_to_close; later passes ask, as the next audit does, only that hosts are cheap.
    improved: told how many hosts are in use with the best plan so far.
    """
    open_for_good = np.zeros(len(placement.free), dtype=bool) if keep is None else keep.copy()
    emptied = np.zeros(len(placement.free), dtype=bool)
    rejections: Counter[str] = Counter()
    notes: dict[int, Move] = {}
    moved_before = placement.n_moved()
    untouched = Placement(dims, placement.origin)
    whole = _problem(untouched, dims, masks, kept=np.zeros_like(open_for_good))
    bound = hosts_bound(whole)
    if max_moves is not None:
        bound = max(bound, int(whole.in_use.sum()) - _affordable(whole, max_moves + moved_before))
    packings, passes = 0, 0
    while passes < MAX_PASSES:
        passes += 1
        problem = _problem(placement, dims, masks, kept=open_for_good)
        if passes > 1:  # as the next audit sees it: hosts without servers are disabled by then
            problem = replace(problem, spare=np.zeros_like(problem.spare))
        left = None if max_moves is None else max_moves - (placement.n_moved() - moved_before)
        closing = hosts_to_close(
            problem,
            max_moves=left,
            is_over=is_over,
            to_the_last=to_the_last,
            fair=math.inf if fair is not None and passes > 1 else fair,
        )
        packings += closing.packings
        placer = Placer(
            placement,
            groups=problem.groups,
            receivers=problem.receivers,
            movable=masks.movable,
            names=dims.names,
        )
        closed, moves = placer.empty(closing.closed)
        if passes == 1:
            rejections = placer.rejections
        emptied |= closed
        notes.update((move.server, move) for move in moves)
        if not closed.any():
            break
        improved(int((problem.in_use & ~closed).sum()), bound, placement.n_moved())
        if is_over():
            break
    return Consolidation(
        moves=moves_of(placement, notes),
        emptied=emptied,
        bound=bound,
        packings=packings,
        passes=passes,
        rejections=rejections,
    )


def _affordable(problem: ClosingProblem, max_moves: int) -> int:
    """How many hosts so many moves can empty at most: the cheapest ones, room not looked at."""
    cheapest = np.sort(problem.cost[problem.closable])
    return int(np.searchsorted(np.cumsum(cheapest), max_moves, side="right"))


def moves_of(placement: Placement, notes: Mapping[int, Move]) -> list[Move]:
    """One move for each server of `notes` that ends elsewhere than it is, by index."""
    return [
        Move(
            server=server,
            source=int(placement.origin[server]),
            target=int(placement.host[server]),
            runner_up=move.runner_up,
            ruled_out=move.ruled_out,
        )
        for server, move in sorted(notes.items())
        if placement.host[server] != placement.origin[server]
    ]


def _problem(
    placement: Placement,
    dims: Dimensions,
    masks: Eligibility,
    *,
    kept: NDArray[np.bool_],
) -> ClosingProblem:
    """What may be closed, with every server where it is planned to be."""
    n_hosts, host = len(placement.free), placement.host
    mapped = host >= 0
    staying = np.bincount(host[mapped], minlength=n_hosts)
    can_go = masks.movable & mapped
    going = np.bincount(host[can_go], minlength=n_hosts)
    in_use = staying > 0
    load = np.zeros_like(dims.free)
    np.add.at(load, host[can_go], dims.demand[can_go])
    receivers = masks.targets & in_use & ~dims.overloaded
    groups = group_servers(
        dims.demand,
        server_class=masks.server_class,
        class_hosts=masks.class_hosts,
        server_host=host,
        considered=can_go,
        weight=scarcity(placement.free[receivers], load),
    )
    unmoved = can_go & (host == placement.origin)
    return ClosingProblem(
        groups=groups,
        free=placement.free,
        load=load,
        receivers=receivers,
        closable=in_use & (staying == going) & ~kept,
        in_use=in_use,
        spare=masks.targets & ~in_use,
        new_moves=np.bincount(host[unmoved], minlength=n_hosts),
    )
