"""Never fewer hosts emptied than by the documented order of the consolidation phase (B-104).

The shared search stops near its bound and leaves dear hosts of a small cloud open; Watcher's walk
does not: from the least loaded host on, servers by descending cpu, each to the first host with
room, the most loaded first. So on small clouds the walk is tried too, and what it takes a freed host is what
the search may spend on dear ones. A cloud at rest is not stirred for a host that is dear, or audits
would never come to an end.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.closing import FEW_HOSTS
from trimtab_decision.optimizer.consolidating import Consolidation, consolidate, moves_of
from trimtab_decision.optimizer.draining import (
    MAX_ROUNDS,
    Request,
    drain_one_by_one,
    empty_to_the_last,
)
from trimtab_decision.optimizer.placing import Move

CHEAP = 0.6
"""A host with at most this many times the mean servers of a host in use is worth its moves."""


def consolidate_at_least(request: Request) -> Consolidation:
    """Search, and cheap hosts by the walk; or walk and search to the last where that empties more.

    `request`: its order is the walk's. With a limit on moves, which the documented rule does not
    know, the search alone decides.
    """
    placement = request.placement
    mark, used = placement.mark, _used(placement.host, len(placement.free))
    if request.max_moves is not None or not 0 < used.sum() <= FEW_HOSTS:
        return _search(request)
    moved_before = placement.n_moved()
    _walk(request)
    walked_left = _used(placement.host, len(placement.free))
    emptied = int((used & ~walked_left).sum())
    fair = (placement.n_moved() - moved_before) / emptied if emptied else math.inf
    placement.undo_to(mark)
    found = _search(request, fair)
    notes = {move.server: move for move in found.moves}
    passes = found
    for _ in range(MAX_ROUNDS):
        walked = _walk(request, only_cheap=True)
        if not walked or request.is_over():
            break
        passes = _search(request, math.inf)
        notes.update((move.server, move) for move in (*walked, *passes.moves))
    left = _used(placement.host, len(placement.free))
    is_beaten = left.sum() > walked_left.sum() and (used & ~left).any()
    if is_beaten and not request.is_over():
        placement.undo_to(mark)
        return empty_to_the_last(replace(request, try_receivers=True))
    return replace(
        found,
        moves=moves_of(placement, notes),
        emptied=np.asarray(used & ~left, dtype=np.bool_),
        rejections=passes.rejections,
    )


def _search(request: Request, fair: float | None = None) -> Consolidation:
    return consolidate(
        request.placement,
        request.dims,
        request.masks,
        max_moves=request.max_moves,
        is_over=request.is_over,
        improved=request.improved,
        fair=fair,
    )


def _walk(request: Request, *, only_cheap: bool = False) -> list[Move]:
    """The moves of the walk from where the servers are planned to be."""
    placement = request.placement
    n_hosts = len(placement.free)
    keep = np.zeros(n_hosts, dtype=bool) if request.keep is None else request.keep
    if only_cheap:
        servers = np.bincount(placement.host[placement.host >= 0], minlength=n_hosts)
        keep = keep | (servers > CHEAP * servers[servers > 0].mean())
    moves, _ = drain_one_by_one(
        placement,
        request.masks,
        order=request.order(),
        server_score=request.server_score,
        keep=keep,
        try_receivers=True,
    )
    return moves


def _used(host: NDArray[np.int32], n_hosts: int) -> NDArray[np.bool_]:
    return np.asarray(np.bincount(host[host >= 0], minlength=n_hosts) > 0, dtype=np.bool_)
