"""What a reassignment must respect and what it costs, as constraint objects on arrays.

H hosts, V servers, R resources, G groups of servers. A caller hands over the objects that its
problem has; the kernel treats a missing one as empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Capacity:
    """Hard: what is used on a host stays within its limit.

    limit: [H, R];  demand: [V, R];  is_held: [R] a server that moved holds its old place too, as
    disk and memory do until a migration ends
    """

    limit: NDArray[np.int64]
    demand: NDArray[np.int64]
    is_held: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Separation:
    """Hard: servers of one group are on different hosts. group: [V], one of 0..n_groups-1."""

    group: NDArray[np.int64]
    n_groups: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Spread:
    """Hard: each group is in at least this many zones. zone: [H];  at_least: [G]."""

    zone: NDArray[np.int64]
    at_least: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dependency:
    """Hard: wherever a group is, the groups it needs are in the same area.

    area: [H];  needs: pairs (group, group that it needs)
    """

    area: NDArray[np.int64]
    needs: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Load:
    """Cost: weight for each unit above the safe use of a host. safe: [H, R];  weight: [R]."""

    safe: NDArray[np.int64]
    weight: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Cost: weight for each unit of `second` missing to `ratio` times what is free of `first`."""

    first: int
    second: int
    ratio: int
    weight: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MoveCost:
    """Cost of moves.

    server: [V] away from home;  between: [H, H];  most_in_group: for each server away in the group
    with most of them
    """

    server: NDArray[np.int64]
    between: NDArray[np.int64]
    most_in_group: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reassignment:
    """The whole problem. home: [V] the host of each server now, which breaks no constraint."""

    home: NDArray[np.int64]
    capacity: Capacity
    separation: Separation
    spread: Spread
    dependency: Dependency
    load: Load
    moves: MoveCost
    balances: tuple[Balance, ...] = field(default=())

    @property
    def n_servers(self) -> int:
        """V."""
        return len(self.home)

    @property
    def n_hosts(self) -> int:
        """H."""
        return len(self.capacity.limit)
