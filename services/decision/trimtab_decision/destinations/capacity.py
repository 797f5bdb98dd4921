"""The default selection of destinations: every other host that has room, in the order given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.framework.destinations import DEFAULT_SELECTOR, Planned

TOLERANCE = 1e-6


class CapacitySelector:
    """Free vCPU, memory and disk at least those of the servers together; never a source (B-050)."""

    name: ClassVar[str] = DEFAULT_SELECTOR

    def select(
        self, planned: Planned, servers: Sequence[int], hosts: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """See SelectDestinations."""
        chosen = np.asarray(servers, dtype=np.intp)
        need = planned.demand[chosen].sum(axis=0)
        fits = (need <= planned.free[hosts] + TOLERANCE).all(axis=1)
        return np.asarray(hosts[fits & ~np.isin(hosts, planned.host[chosen])], dtype=np.intp)
