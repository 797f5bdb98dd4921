"""The time series of the cloud: node_exporter's by ``fqdn``, Ceilometer's by ``resource``.

As in a real cloud, a server's Ceilometer series ends when it leaves a host, and a new one with
another ``publisher`` starts from 0: for one window after a move both are found.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.hosts import Host
from trimtab_fakecloud.metrics.steps import Steps
from trimtab_fakecloud.servers import Server

HISTORY_S = 600.0
"""Load is taken to have been the same for so long before the cloud began."""
HOST_OWN_CPU_RATIO = 0.01
HOST_OWN_MEMORY_MIB = 2048.0
MIB = float(1 << 20)
NODE_PORT, CEILOMETER_PORT = 9100, 3000

Labels = Mapping[str, str]
EVERY: Labels = MappingProxyType({})
"""No label is known beforehand."""


@dataclass(frozen=True, slots=True)
class Series:
    """One time series: a gauge is ``steps``, a counter is its integral."""

    name: str
    labels: Labels
    steps: Steps
    is_counter: bool
    scale: float = 1.0

    def at(self, moment: float) -> float | None:
        """What an instant query finds."""
        if not self.steps.exists(moment):
            return None
        raw = self.steps.integral(moment) if self.is_counter else self.steps.value(moment)
        return raw * self.scale


@dataclass(slots=True)
class _Guest:
    """The series of one server on one host."""

    server: Server
    host: str
    busy_vcpus: Steps
    memory_mib: Steps

    def end(self, at: float) -> None:
        self.busy_vcpus.end = self.memory_mib.end = at


@dataclass(slots=True)
class _Node:
    """The series of one host."""

    host: Host
    idle_ratio: Steps
    busy_ratio: Steps
    available_mib: Steps
    total_mib: Steps

    def end(self, at: float) -> None:
        for steps in (self.idle_ratio, self.busy_ratio, self.available_mib, self.total_mib):
            steps.end = at

    @property
    def is_alive(self) -> bool:
        return self.idle_ratio.end is None


class SeriesStore:
    """Follows the cloud and knows all series. Implements the cloud's ``LoadWatcher``."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._start = cloud.began_at - HISTORY_S
        self._guests: dict[str, list[_Guest]] = {}
        self._nodes: dict[str, _Node] = {}
        self._filling = True
        for server in cloud.servers.values():
            self.server_changed(server)
        for host in cloud.hosts.values():
            self.host_changed(host)
        self._filling = False
        cloud.watchers.append(self)

    def server_changed(self, server: Server) -> None:
        """A server came, moved, started or stopped, or has another load."""
        now = self._start if self._filling else self._cloud.now()
        guests = self._guests.setdefault(server.id, [])
        current = guests[-1] if guests and guests[-1].busy_vcpus.end is None else None
        runs_on = server.host if server.is_running and not server.is_deleted else None
        if current is not None and current.host != runs_on:
            current.end(now)
            self._refresh(current.host)
            current = None
        if runs_on is None:
            return
        busy = server.flavor.vcpus * server.cpu_pct / 100
        if current is None:
            guests.append(
                _Guest(server, runs_on, Steps(now, busy), Steps(now, server.memory_used_mib))
            )
        else:
            current.busy_vcpus.set(now, busy)
            current.memory_mib.set(now, server.memory_used_mib)
        self._refresh(runs_on)

    def host_changed(self, host: Host) -> None:
        """A host came, went up or down."""
        now = self._start if self._filling else self._cloud.now()
        node = self._nodes.get(host.name)
        alive = host.is_up
        if node is not None and not alive and node.is_alive:
            node.end(now)
        if alive and (node is None or not node.is_alive):
            idle, available = self._state_of(host)
            self._nodes[host.name] = _Node(
                host,
                Steps(now, idle),
                Steps(now, 1 - idle),
                Steps(now, available),
                Steps(now, float(host.memory_mib)),
            )

    def hosts(self) -> Iterator[tuple[Host, bool]]:
        """All hosts, and whether their exporter answers."""
        for host in self._cloud.hosts.values():
            node = self._nodes.get(host.name)
            yield host, node is not None and node.is_alive

    def names(self) -> list[str]:
        """Metric names that there are."""
        return sorted(_FAMILIES)

    def select(
        self, name: str, accepts: Callable[[Labels], bool], only: Labels = EVERY
    ) -> Iterator[Series]:
        """The series of a name whose labels are accepted.

        Args:
            name: the metric.
            accepts: tells of all labels of a series whether it is wanted.
            only: labels known to be wanted with just this value: spares a look at the others.
        """
        family = _FAMILIES.get(name)
        if family is not None:
            yield from (series for series in family(self, only) if accepts(series.labels))

    def labels(self, label: str) -> set[str]:
        """The values of a label over all living series."""
        if label == "__name__":
            return set(_FAMILIES)
        values: set[str] = set()
        for name in _FAMILIES:
            for series in self.select(name, lambda labels: label in labels, EVERY):
                if series.steps.exists(self._cloud.now()):
                    values.add(series.labels[label])
        return values

    def _refresh(self, host_name: str) -> None:
        """The host's own series follow from its servers'."""
        node = self._nodes.get(host_name)
        if node is None or not node.is_alive:
            return
        idle, available = self._state_of(node.host)
        node.idle_ratio.set(self._cloud.now(), idle)
        node.busy_ratio.set(self._cloud.now(), 1 - idle)
        node.available_mib.set(self._cloud.now(), available)

    def _state_of(self, host: Host) -> tuple[float, float]:
        """Idle part of all its processors, and available memory."""
        running = [s for s in self._cloud.servers_on(host.name) if s.is_running]
        busy = sum(s.flavor.vcpus * s.cpu_pct / 100 for s in running) / host.vcpus
        used = sum(s.memory_used_mib for s in running) + HOST_OWN_MEMORY_MIB
        idle = max(0.0, 1 - busy - HOST_OWN_CPU_RATIO)
        return idle, max(0.0, host.memory_mib - used)

    def _processors(self, only: Labels) -> Iterator[Series]:
        for node in self._nodes_of(only):
            for mode, steps in (("idle", node.idle_ratio), ("user", node.busy_ratio)):
                if only.get("mode", mode) != mode:
                    continue
                for cpu in range(node.host.vcpus):
                    labels = {**_node_labels(node.host), "cpu": str(cpu), "mode": mode}
                    yield Series("node_cpu_seconds_total", labels, steps, is_counter=True)

    def _memory_total(self, only: Labels) -> Iterator[Series]:
        for node in self._nodes_of(only):
            yield Series(
                "node_memory_MemTotal_bytes",
                _node_labels(node.host),
                node.total_mib,
                is_counter=False,
                scale=MIB,
            )

    def _memory_available(self, only: Labels) -> Iterator[Series]:
        for node in self._nodes_of(only):
            yield Series(
                "node_memory_MemAvailable_bytes",
                _node_labels(node.host),
                node.available_mib,
                is_counter=False,
                scale=MIB,
            )

    def _guest_cpu(self, only: Labels) -> Iterator[Series]:
        for guest in self._guests_of(only):
            labels = _guest_labels(guest, "cpu", "ns")
            yield Series("ceilometer_cpu", labels, guest.busy_vcpus, is_counter=True, scale=1e9)

    def _guest_memory(self, only: Labels) -> Iterator[Series]:
        for guest in self._guests_of(only):
            labels = _guest_labels(guest, "memory.usage", "MB")
            yield Series("ceilometer_memory_usage", labels, guest.memory_mib, is_counter=False)

    def _nodes_of(self, only: Labels) -> Iterable[_Node]:
        if "fqdn" not in only:
            return self._nodes.values()
        node = self._nodes.get(only["fqdn"])
        return [node] if node else []

    def _guests_of(self, only: Labels) -> Iterator[_Guest]:
        if "resource" in only:
            yield from self._guests.get(only["resource"], ())
            return
        for guests in self._guests.values():
            yield from guests


_FAMILIES: dict[str, Callable[[SeriesStore, Labels], Iterator[Series]]] = {
    "node_cpu_seconds_total": SeriesStore._processors,  # noqa: SLF001, the store's own table
    "node_memory_MemTotal_bytes": SeriesStore._memory_total,  # noqa: SLF001, same
    "node_memory_MemAvailable_bytes": SeriesStore._memory_available,  # noqa: SLF001, same
    "ceilometer_cpu": SeriesStore._guest_cpu,  # noqa: SLF001, same
    "ceilometer_memory_usage": SeriesStore._guest_memory,  # noqa: SLF001, same
}


def _node_labels(host: Host) -> dict[str, str]:
    return {"job": "node", "fqdn": host.name, "instance": f"{host.name}:{NODE_PORT}"}


def _guest_labels(guest: _Guest, counter: str, unit: str) -> dict[str, str]:
    return {
        "job": "ceilometer",
        "instance": f"127.0.0.1:{CEILOMETER_PORT}",
        "publisher": guest.host,
        "resource": guest.server.id,
        "resource_name": guest.server.name,
        "project": guest.server.project_id,
        "counter": counter,
        "unit": unit,
        "type": counter.split(".", maxsplit=1)[0],
    }
