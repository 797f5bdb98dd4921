"""Small clouds for tests: name only what the test is about.

cloud([host("a", up=False), host("b")], [server("s1", "a", cpu_pct=50)])
"""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from trimtab_common.domain.compute_terms import ServerGroup, ServerState
from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot, MetricsTable
from trimtab_common.rules import parameters as rules
from trimtab_decision.framework import StrategyContext, planned_by
from trimtab_decision.plugins import load_registry

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SPACE = uuid.UUID("3c9a7f10-0000-4000-8000-000000000000")


@dataclass
class Host:
    name: str
    vcpus: int = 16
    memory: int = 32768
    disk: int = 400
    ratio: tuple = (1.0, 1.0, 1.0)
    reserved: tuple = (0, 0, 0)
    up: bool = True
    enabled: bool = True
    reason: str | None = None
    zone: str = ""
    cpu_pct: float = float("nan")
    ram_kib: float = float("nan")
    metrics: dict = field(default_factory=dict)


@dataclass
class Server:
    name: str
    host: str | None
    vcpus: int = 2
    memory: int = 4096
    disk: int = 20
    state: ServerState = ServerState.ACTIVE
    locked: bool = False
    excluded: bool = False
    project: str = "p"
    metadata: dict = field(default_factory=dict)
    zone: str = ""
    cpu_pct: float = float("nan")
    ram_mib: float = float("nan")
    metrics: dict = field(default_factory=dict)
    hints: dict = field(default_factory=dict)
    extra_specs: dict = field(default_factory=dict)
    created_at_s: int = 0

    @property
    def uuid(self):
        return uuid_of(self.name)


def uuid_of(name):
    return str(uuid.uuid5(SPACE, name))


def host(name, **fields):
    return Host(name, **fields)


def server(name, on, **fields):
    return Server(name, on, **fields)


def cloud(hosts, servers, aggregates=(), groups=()):
    """(snapshot, metrics), sorted as the collector sorts them."""
    hosts = sorted(hosts, key=lambda h: h.name)
    servers = sorted(servers, key=lambda s: uuid.UUID(s.uuid).bytes)
    zones = tuple(sorted({h.zone for h in hosts} - {""}))
    projects = tuple(sorted({s.project for s in servers}))
    place = {h.name: i for i, h in enumerate(hosts)}
    snapshot = ComputeSnapshot(
        epoch="test",
        revision=1,
        taken_at=NOW,
        host_uuid=tuple(uuid_of(f"host {h.name}") for h in hosts),
        host_name=tuple(h.name for h in hosts),
        host_inventory=rows([(h.vcpus, h.memory, h.disk) for h in hosts], np.int64),
        host_reserved=rows([h.reserved for h in hosts], np.int64),
        host_ratio=rows([h.ratio for h in hosts], np.float64),
        host_up=np.array([h.up for h in hosts], dtype=bool),
        host_enabled=np.array([h.enabled for h in hosts], dtype=bool),
        host_disabled_reason=tuple(h.reason for h in hosts),
        host_zone=np.array([zones.index(h.zone) if h.zone else -1 for h in hosts], dtype=np.int32),
        server_uuid=np.array(
            [np.frombuffer(uuid.UUID(s.uuid).bytes, dtype=np.uint8) for s in servers],
            dtype=np.uint8,
        ).reshape(len(servers), 16),
        server_name=tuple(s.name for s in servers),
        server_host=np.array([place.get(s.host, NO_HOST) for s in servers], dtype=np.int32),
        server_demand=rows([(s.vcpus, s.memory, s.disk) for s in servers], np.int64),
        server_state=np.array([int(s.state) for s in servers], dtype=np.int8),
        server_locked=np.array([s.locked for s in servers], dtype=bool),
        server_excluded=np.array([s.excluded for s in servers], dtype=bool),
        server_project=np.array([projects.index(s.project) for s in servers], dtype=np.int32),
        projects=projects,
        zones=zones,
        aggregates=tuple(aggregates),
        server_metadata={i: s.metadata for i, s in enumerate(servers) if s.metadata},
        server_pinned_zone={i: s.zone for i, s in enumerate(servers) if s.zone},
        server_scheduler_hints={i: s.hints for i, s in enumerate(servers) if s.hints},
        server_extra_specs={i: s.extra_specs for i, s in enumerate(servers) if s.extra_specs},
        server_created_at_s=np.array([s.created_at_s for s in servers], dtype=np.int64),
        groups=tuple(groups),
    )
    metrics = MetricsTable(
        host={
            "host_cpu_usage": np.array([h.cpu_pct for h in hosts], dtype=float),
            "host_ram_usage": np.array([h.ram_kib for h in hosts], dtype=float),
            **columns(hosts),
        },
        server={
            "instance_cpu_usage": np.array([s.cpu_pct for s in servers], dtype=float),
            "instance_ram_usage": np.array([s.ram_mib for s in servers], dtype=float),
            **columns(servers),
        },
    )
    return snapshot, metrics


def columns(elements):
    """{metric: values}, NaN where an element has none."""
    names = {name for element in elements for name in element.metrics}
    return {
        name: np.array([e.metrics.get(name, float("nan")) for e in elements], dtype=float)
        for name in names
    }


def group(name, policy, *members, max_per_host=None):
    """A server group of servers by name."""
    return ServerGroup(
        uuid=uuid_of(f"group {name}"),
        name=name,
        policy=policy,
        members=frozenset(uuid_of(member) for member in members),
        max_per_host=max_per_host,
    )


def rows(values, dtype):
    return np.array(values, dtype=dtype).reshape(len(values), 3)


def run(strategy_name, clouds, *, context=None, **parameters):
    """Execute a strategy as an audit would: checked parameters, defaults filled.

    `context`: more members of the StrategyContext.
    """
    strategy = load_registry(entry_points=False).strategy(strategy_name)
    snapshot, metrics = clouds
    checked = rules.checked(parameters, strategy.parameters_schema)
    given = {"compute": snapshot, "metrics": metrics, "parameters": checked, "seed": 1}
    return strategy.execute(StrategyContext(**{**given, **(context or {})}))


def plan(solution):
    """What the solution's planner makes of it."""
    planner = load_registry(entry_points=False).planner(solution.planner_name)
    return planned_by(planner, None, solution.actions)


def migrations(solution):
    """{server name: (source, target or None, type)}."""
    return {
        a.input_parameters["resource_name"]: (
            a.input_parameters["source_node"],
            a.input_parameters.get("destination_node"),
            a.input_parameters["migration_type"],
        )
        for a in solution.actions
        if a.action_type == "migrate"
    }


def switches(solution):
    """{host name: (state, reason)} in plan order."""
    return {
        a.input_parameters["resource_name"]: (
            a.input_parameters["state"],
            a.input_parameters.get("disabled_reason"),
        )
        for a in solution.actions
        if a.action_type == "change_nova_service_state"
    }
