"""Servers chosen by the workload character that their metadata carries (B-322, B-324).

A strategy asks `context.workloads`: which servers carry a character, and of which what is known of
them now (flavor, measured load) fits it. Texts that cannot be read are passed over; collector logs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import DISK_GIB, MEMORY_MIB, VCPU, ComputeSnapshot, MetricsTable
from trimtab_common.domain.workloads import Evaluation, ValueMissing, WorkloadCharacter
from trimtab_common.rules import workload_grammar

_FLAVOR = {"vcpus": VCPU, "memory": MEMORY_MIB, "disk": DISK_GIB}
_METRICS = {"cpu_util": "instance_cpu_usage", "memory.usage": "instance_ram_usage"}
"""The specification's names of what this model calls otherwise; any other name is a metric's own."""


class Workloads:
    """The characters of one snapshot. Indexes are those of its servers."""

    def __init__(self, snapshot: ComputeSnapshot, metrics: MetricsTable) -> None:
        self._snapshot = snapshot
        self._metrics = metrics

    @cached_property
    def characters(self) -> Mapping[int, WorkloadCharacter]:
        """By server, of those that carry one."""
        found: dict[int, WorkloadCharacter] = {}
        for server, metadata in self._snapshot.server_metadata.items():
            text = workload_grammar.text_in(metadata)
            character = workload_grammar.cached(text) if text else None
            if isinstance(character, WorkloadCharacter):
                found[server] = character
        return found

    def evaluation(self, server: int) -> Evaluation | None:
        """What is known of the server says of its character; None without character or values."""
        character = self.characters.get(server)
        if character is None:
            return None
        try:
            return character.evaluate(self.values(server, character))
        except ValueMissing:
            return None

    def matching(self, *, threshold: float | None = None, name: str = "") -> NDArray[np.bool_]:
        """[V] whose character fits now; False without character or required values.

        threshold: by the weights (0..1) instead of by the formula. name: only characters of this name.
        """
        found = np.zeros(self._snapshot.n_servers, np.bool_)
        for server, character in self.characters.items():
            if name and character.name != name:
                continue
            judged = self.evaluation(server)
            if judged is not None:
                found[server] = judged.is_match if threshold is None else judged.reaches(threshold)
        return found

    def values(self, server: int, character: WorkloadCharacter) -> dict[str, float]:
        """What is known of the character's resources: cores, MiB, GiB, %."""
        found: dict[str, float] = {}
        for resource in character.resources:
            if resource in _FLAVOR:
                found[resource] = float(self._snapshot.server_demand[server, _FLAVOR[resource]])
                continue
            column = self._metrics.server.get(_METRICS.get(resource, resource))
            if column is not None and not np.isnan(column[server]):
                found[resource] = float(column[server])
        return found
