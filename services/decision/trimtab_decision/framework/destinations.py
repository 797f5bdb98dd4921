"""Where a server may go: the contracts of scheduler filters and of destination selection.

Both are plug-ins (B-050, B-055). What they look at is a `Planned`: the snapshot, and the moves
planned so far as if they were done.
"""

from __future__ import annotations

import uuid as uuid_module
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import ComputeSnapshot

ALL_HOSTS_FILTER = "AllHostsFilter"
DEFAULT_SELECTOR = "capacity"


def find_servers(snapshot: ComputeSnapshot, uuids: Iterable[str]) -> NDArray[np.intp]:
    """The indexes of the servers with these uuids, ascending; unknown ones are left out.

    Cost: logarithmic each, since a snapshot is sorted by uuid.
    """
    wanted = []
    for text in uuids:
        try:
            wanted.append(uuid_module.UUID(text).bytes)
        except ValueError:
            continue
    if not wanted or not snapshot.n_servers:
        return np.zeros(0, dtype=np.intp)
    keys = np.ascontiguousarray(snapshot.server_uuid).view("S16").ravel()
    asked = np.array(wanted, dtype="S16")
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.unique(places[keys[places] == asked])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Planned:
    """The cloud with the planned moves done. H hosts, V servers.

    host:   [V] where each server is planned to be, NO_HOST when nowhere
    free:   [H, D] room left with every target reserved and no source released
    demand: [V, D] what a server takes; the first three dimensions are vCPU, MiB, GiB
    """

    snapshot: ComputeSnapshot
    host: NDArray[np.int32]
    free: NDArray[np.float64]
    demand: NDArray[np.float64]


class SchedulerFilter(ABC):
    """One rule of Nova's scheduler (B-057): gives the decision that Nova gives.

    `is_static`: the answer does not depend on where other servers are planned to be.
    """

    name: ClassVar[str]
    is_static: ClassVar[bool] = True

    def restricted(self, snapshot: ComputeSnapshot) -> NDArray[np.bool_]:
        """[V] the servers to which the filter may say no; by default all."""
        return np.ones(snapshot.n_servers, dtype=bool)

    @abstractmethod
    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:
        """[H] the hosts that pass for this server."""


class SelectDestinations(Protocol):
    """Which of the candidate hosts can take these servers, best first (B-050)."""

    name: ClassVar[str]

    def select(
        self, planned: Planned, servers: Sequence[int], hosts: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        """The hosts, filtered and ordered; the sources of the servers never among them."""
