"""The documented rule of vm_workload_consolidation, literally: the measure that ours must reach.

A second, slow reading of requirements B-100..B-108 that shares no code with the strategy: hosts in
the written order, first fit, saturated destinations left out. It knows neither zones nor server
groups, so its plan may break hard rules; who compares, verifies it first.
"""

from dataclasses import dataclass, field

import numpy as np

from trimtab_common.domain.compute_terms import ServerState

LIVE = (ServerState.ACTIVE, ServerState.PAUSED)
OURS = ("watcher_disabled", "Watcher node resource consolidation strategy")
SATURATED_MEMORY_MIB = 128
CPU, MEMORY, DISK = range(3)


@dataclass
class Rule:
    """One execution. `phases` may name one phase alone, for the tests of a single line."""

    snapshot: object
    metrics: object
    cc: tuple = (1.0, 1.0, 1.0)
    moves: dict = field(default_factory=dict)
    skipped: int = 0

    def __post_init__(self):
        s = self.snapshot
        self.host = [int(h) for h in s.server_host]
        self.flavor = [tuple(float(x) for x in row) for row in s.server_demand]
        self.use = [self._use(i) for i in range(s.n_servers)]
        self.capacity = (s.host_inventory - s.host_reserved) * s.host_ratio
        self.nodes = [
            h
            for h in range(s.n_hosts)
            if s.host_up[h] and (s.host_enabled[h] or s.host_disabled_reason[h] in OURS)
        ]
        self.on = {
            h: [i for i in range(s.n_servers) if self.host[i] == h] for h in range(s.n_hosts)
        }
        self.allocated, self.summed = np.zeros((s.n_hosts, 3)), np.zeros((s.n_hosts, 3))
        self.planned = np.zeros((s.n_hosts, 3))
        for h, servers in self.on.items():
            for i in servers:
                self.allocated[h] += self.flavor[i]
                self.summed[h] += self.use[i]
        cpu = np.nan_to_num(self.metrics.host.get("host_cpu_usage", np.zeros(s.n_hosts)))
        ram = np.nan_to_num(self.metrics.host.get("host_ram_usage", np.zeros(s.n_hosts)))
        self.measured = np.zeros((s.n_hosts, 3))
        self.measured[:, CPU] = cpu * s.host_inventory[:, CPU] / 100
        self.measured[:, MEMORY] = ram / 1024

    def _value(self, name, i):
        column = self.metrics.server.get(name)
        return None if column is None or np.isnan(column[i]) else float(column[i])

    def _use(self, i):
        """B-100."""
        vcpus, memory, disk = self.flavor[i]
        pct = self._value("instance_cpu_usage", i)
        ram = self._value("instance_ram_usage", i)
        if ram is None:
            ram = self._value("instance_ram_allocated", i)
        root = self._value("instance_root_disk_size", i)
        return (
            vcpus * pct / 100 if pct else vcpus,
            memory if ram is None else ram,
            disk if root is None else root,
        )

    def utilisation(self, h):
        """B-101."""
        return np.maximum(self.summed[h], self.measured[h] + self.planned[h])

    def _cpu_order(self):
        return sorted(self.nodes, key=lambda h: self.utilisation(h)[CPU])

    def _may_migrate(self, i):
        s = self.snapshot
        states = (*LIVE, ServerState.STOPPED)
        busy = bool(len(s.server_in_flux) and s.server_in_flux[i])
        return s.server_state[i] in states and not (
            s.server_excluded[i] or s.server_locked[i] or busy
        )

    def fits(self, i, h):
        """B-102."""
        limit = self.capacity[h] * self.cc
        return bool(
            (np.asarray(self.use[i]) + self.utilisation(h) <= limit).all()
            and (np.asarray(self.flavor[i]) <= self.capacity[h] - self.allocated[h]).all()
        )

    def is_overloaded(self, h):
        """B-102."""
        return self.utilisation(h)[CPU] > self.capacity[h][CPU] * self.cc[0]

    def is_saturated(self, h):
        """B-105."""
        slack = np.array([0, SATURATED_MEMORY_MIB, 0])
        limit = self.capacity[h] * self.cc - slack
        free = self.capacity[h] - self.allocated[h]
        return bool((free <= slack).any() or (self.utilisation(h) >= limit).any())

    def move(self, i, h):
        source, use = self.host[i], np.asarray(self.use[i])
        part = np.array([use[CPU], self.flavor[i][MEMORY], 0.0])
        for place, sign in ((source, -1), (h, 1)):
            self.allocated[place] += sign * np.asarray(self.flavor[i])
            self.summed[place] += sign * use
            self.planned[place] += sign * part
        self.on[source].remove(i)
        self.on[h].append(i)
        self.host[i] = h
        self.moves[i] = h

    def offload(self):
        """B-103."""
        order = self._cpu_order()
        for source in reversed(order):
            for i in sorted(self.on[source], key=lambda i: self.use[i][CPU]):
                if not self.is_overloaded(source):
                    break
                target = next((h for h in reversed(order) if h != source and self.fits(i, h)), None)
                if self._may_migrate(i) and target is not None:
                    self.move(i, target)

    def consolidate(self):
        """B-104, with the saturated destinations of B-105."""
        order, saturated = self._cpu_order(), set()
        for place, source in enumerate(order):
            for i in sorted(self.on[source], key=lambda i: self.use[i][CPU], reverse=True):
                if not self._may_migrate(i):
                    continue
                for h in reversed(order[place + 1 :]):
                    if h in saturated:
                        self.skipped += 1
                    elif self.fits(i, h):
                        self.move(i, h)
                        break
                    elif self.is_saturated(h):
                        saturated.add(h)

    def run(self):
        """Both phases; gives the moves of B-107: server -> last destination, none where equal."""
        self.offload()
        self.consolidate()
        return {i: h for i, h in self.moves.items() if h != int(self.snapshot.server_host[i])}
