"""The working placement: room left on every host, O(1) moves, and a log to take them back.

Room is counted as if every target is reserved at the start and no source is ever released: then a
plan is safe in whatever order, and however parallel, its moves run.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import Bug
from trimtab_decision.optimizer.dimensions import TOLERANCE, Dimensions


class Placement:
    """Mutable. `host`: [V] where each server is planned to end; `free`: [H, D] room left."""

    def __init__(self, dims: Dimensions, server_host: NDArray[np.int32]) -> None:
        self.demand = dims.demand
        self.free = dims.free.copy()
        self.origin = server_host
        self.host = server_host.copy()
        self._log: list[tuple[int, int]] = []

    @property
    def mark(self) -> int:
        """A point to come back to with `undo_to`."""
        return len(self._log)

    @property
    def moves(self) -> list[tuple[int, int]]:
        """(server, target) in the order in which they were made."""
        return list(self._log)

    def fits(self, server: int, host: int) -> bool:
        """Whether this host has room for the server in every dimension."""
        return bool((self.demand[server] <= self.free[host] + TOLERANCE).all())

    def fitting(self, server: int, hosts: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of these hosts have room for the server in every dimension."""
        return np.asarray(
            (self.demand[server] <= self.free[hosts] + TOLERANCE).all(axis=1), dtype=np.bool_
        )

    def move(self, server: int, host: int) -> None:
        """Reserve room on `host`; a server moves at most once."""
        if self.host[server] != self.origin[server]:
            raise Bug(f"Server {server} is moved twice.")
        self.free[host] -= self.demand[server]
        self.host[server] = host
        self._log.append((server, host))

    def undo_to(self, mark: int) -> None:
        """Take back every move made since `mark`."""
        while len(self._log) > mark:
            server, host = self._log.pop()
            self.free[host] += self.demand[server]
            self.host[server] = self.origin[server]
