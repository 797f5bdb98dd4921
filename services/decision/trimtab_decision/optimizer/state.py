"""The working placement: room left on every host, O(1) moves, and a log to take them back.

Room is counted as if every target is reserved at the start and no source is ever released: then a
plan is safe in whatever order, and however parallel, its moves run. A server that is moved again
just gets another target: it makes one migration, from where it is to where it ends.

`rebalancing` alone lets servers fill what others leave, and finds an order afterwards (`move_order`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import Bug
from trimtab_decision.optimizer.dimensions import TOLERANCE, Dimensions
from trimtab_decision.optimizer.restrictions import Restrictions


class Placement:
    """Mutable. `host`: [V] where each server is planned to end; `free`: [H, D] room left."""

    def __init__(
        self,
        dims: Dimensions,
        server_host: NDArray[np.int32],
        restrictions: Restrictions | None = None,
    ) -> None:
        self.demand = dims.demand
        self.free = dims.free.copy()
        self.origin = server_host
        self.host = server_host.copy()
        self.restrictions = restrictions
        self._log: list[tuple[int, int]] = []

    @property
    def mark(self) -> int:
        """A point to come back to with `undo_to`."""
        return len(self._log)

    def n_moved(self) -> int:
        """How many servers end elsewhere than they are."""
        return int((self.host != self.origin).sum())

    def is_restricted(self, server: int) -> bool:
        """Whether more than room decides where it may go."""
        return self.restrictions is not None and bool(self.restrictions.restricted[server])

    def passing(self, server: int) -> NDArray[np.bool_]:
        """[H] the hosts that server groups, filters and selection let it go to."""
        if self.restrictions is None:
            return np.ones(len(self.free), dtype=bool)
        return self.restrictions.passing(server, self)

    def fits(self, server: int, host: int) -> bool:
        """Whether this host has room for the server in every dimension, and it may go there."""
        if host == self.origin[server]:
            return True
        if not (self.demand[server] <= self.free[host] + TOLERANCE).all():
            return False
        return not self.is_restricted(server) or bool(self.passing(server)[host])

    def fitting(self, server: int, hosts: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which of these hosts have room for the server in every dimension, and may take it."""
        fits = (self.demand[server] <= self.free[hosts] + TOLERANCE).all(axis=1)
        if self.is_restricted(server):
            fits &= self.passing(server)[hosts]
        return np.asarray(fits, dtype=np.bool_)

    def move(self, server: int, host: int) -> None:
        """Reserve room on `host`, and give up what was reserved for this server before.

        Back on its origin a server makes no migration at all; its room there was never given away.
        """
        if host == self.host[server]:
            raise Bug(f"Server {server} is moved to where it is.")
        self._log.append((server, int(self.host[server])))
        self._set(server, host)

    def undo_to(self, mark: int) -> None:
        """Take back every move made since `mark`."""
        while len(self._log) > mark:
            server, host = self._log.pop()
            self._set(server, host)

    def _set(self, server: int, host: int) -> None:
        before = self.host[server]
        if before != self.origin[server]:
            self.free[before] += self.demand[server]
        if host != self.origin[server]:
            self.free[host] -= self.demand[server]
        self.host[server] = host
