"""Hosts emptied one after the other, each wholly or not at all: the walk of Watcher's strategies.

It tries every host (B-091, B-116); the shared search then empties what it could not.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.consolidating import Consolidation, consolidate, moves_of
from trimtab_decision.optimizer.dimensions import Dimensions
from trimtab_decision.optimizer.eligibility import Eligibility
from trimtab_decision.optimizer.incumbents import Improved, not_watched
from trimtab_decision.optimizer.placing import Move
from trimtab_decision.optimizer.state import Placement

WALK_AT_MOST = 2000
"""Hosts. The walk asks host by host, so on larger clouds the shared search alone decides."""
MAX_ROUNDS = 6


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Request:
    """What is asked of `empty_to_the_last`. H hosts, V servers.

    order: gives the hosts in use now, the last one to be tried first
    server_score: [V] the highest of a host is placed first;  keep: [H] hosts never emptied
    max_moves: moves that may be added, None any;  is_over: whether time is up
    improved: told how many hosts are in use with the best plan so far
    try_receivers: see drain_one_by_one
    """

    placement: Placement
    dims: Dimensions
    masks: Eligibility
    order: Callable[[], NDArray[np.intp]]
    server_score: NDArray[np.float64]
    keep: NDArray[np.bool_] | None = None
    max_moves: int | None = None
    is_over: Callable[[], bool] = lambda: False
    improved: Improved = not_watched
    try_receivers: bool = False


def empty_to_the_last(request: Request) -> Consolidation:
    """As many hosts emptied as walk and search can; changes the placement.

    Both orders are tried, walk then search and search then walk, each until neither empties
    another host. More emptied hosts win, then fewer moves, then the walk.
    """
    placement = request.placement
    can_walk = request.max_moves is None and len(placement.free) <= WALK_AT_MOST
    if not can_walk:
        return _in_turns(request, can_walk=False)
    mark = placement.mark
    walked = _in_turns(request, can_walk=True)
    if walked.emptied.sum() >= _in_use(placement, placement.origin).sum() - walked.bound:
        return walked
    after_walk = placement.host.copy()
    placement.undo_to(mark)
    first = _search(request)
    searched = _in_turns(request, can_walk=True, before=first.moves)
    if _rank(searched) > _rank(walked):
        return searched
    placement.undo_to(mark)
    for server in np.flatnonzero(after_walk != placement.host).tolist():
        placement.move(server, int(after_walk[server]))
    return walked


def _rank(found: Consolidation) -> tuple[int, int]:
    return int(found.emptied.sum()), -len(found.moves)


def _in_use(placement: Placement, host: NDArray[np.int32]) -> NDArray[np.bool_]:
    counts = np.bincount(host[host >= 0], minlength=len(placement.free))
    return np.asarray(counts > 0, dtype=np.bool_)


def _search(request: Request) -> Consolidation:
    left = None
    if request.max_moves is not None:
        left = request.max_moves - request.placement.n_moved()
    return consolidate(
        request.placement,
        request.dims,
        request.masks,
        keep=request.keep,
        max_moves=left,
        is_over=request.is_over,
        improved=request.improved,
        to_the_last=True,
    )


def _in_turns(request: Request, *, can_walk: bool, before: Sequence[Move] = ()) -> Consolidation:
    """Walk and search in turns until neither empties another host."""
    placement = request.placement
    notes = {move.server: move for move in before}
    used_before = _in_use(placement, placement.origin)
    for turn in range(MAX_ROUNDS):
        walked: list[Move] = []
        if can_walk:
            walked, _ = drain_one_by_one(
                placement,
                request.masks,
                order=request.order(),
                server_score=request.server_score,
                keep=request.keep,
                try_receivers=request.try_receivers,
            )
        found = _search(request)
        in_use = int(_in_use(placement, placement.host).sum())
        request.improved(in_use, found.bound, placement.n_moved())
        notes.update((move.server, move) for move in (*walked, *found.moves))
        is_last = turn == MAX_ROUNDS - 1 or request.is_over()
        if is_last or not (walked or found.emptied.any()):
            break
    return Consolidation(
        moves=moves_of(placement, notes),
        emptied=np.asarray(used_before & ~_in_use(placement, placement.host), dtype=np.bool_),
        bound=found.bound,
        packings=found.packings,
        passes=found.passes,
        rejections=found.rejections,
    )


def drain_one_by_one(
    placement: Placement,
    masks: Eligibility,
    *,
    order: NDArray[np.intp],
    server_score: NDArray[np.float64],
    keep: NDArray[np.bool_] | None = None,
    max_failures: int = sys.maxsize,
    max_moves: int = sys.maxsize,
    try_receivers: bool = False,
) -> tuple[list[Move], int]:
    """Try hosts from the end of `order`; servers go to the first other host of `order` with room.

    A host that cannot be emptied is left as it was; after `max_failures` of them in a row the walk
    ends. A host that took servers is tried only with `try_receivers`; its servers then have several
    moves here, of which the last counts. Gives the moves and how many hosts were tried.
    """
    moves: list[Move] = []
    open_hosts = np.ones(len(order), dtype=bool)
    received: set[int] = set()
    failures = tried = 0
    for place in range(len(order) - 1, -1, -1):
        source = int(order[place])
        if failures >= max_failures:
            break
        if (source in received and not try_receivers) or (keep is not None and keep[source]):
            continue
        tried += 1
        open_hosts[place] = False
        mark = placement.mark
        made = _drain(placement, masks, source, order[open_hosts], server_score)
        if made is None or len(moves) + len(made) > max_moves:
            placement.undo_to(mark)
            open_hosts[place] = True
            failures += 1
            continue
        failures = 0
        moves.extend(made)
        received.update(move.target for move in made)
    return moves, tried


def _drain(
    placement: Placement,
    masks: Eligibility,
    source: int,
    hosts: NDArray[np.intp],
    score: NDArray[np.float64],
) -> list[Move] | None:
    """Moves that empty the host, or None when a server stays."""
    servers = np.flatnonzero(placement.host == source)
    if not masks.movable[servers].all() or not len(hosts):
        return None
    made = []
    for server in servers[np.argsort(-score[servers], kind="stable")].tolist():
        allowed = masks.targets[hosts] & masks.class_hosts[masks.server_class[server], hosts]
        candidates = hosts[allowed]
        fitting = candidates[placement.fitting(server, candidates)]
        if not len(fitting):
            return None
        placement.move(server, int(fitting[0]))
        other = int(fitting[1]) if len(fitting) > 1 else None
        made.append(Move(server=server, source=source, target=int(fitting[0]), runner_up=other))
    return made
