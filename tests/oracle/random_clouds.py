"""Random clouds of 5 to 200 hosts as columns, a fifth of each odd in every way that clouds are odd.

Down, disabled by others or by us, without capacity, without metrics; excluded, locked, pinned and
grouped servers, servers booted from volume, in states that cannot move, on hosts nobody knows.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from trimtab_common.domain.baremetal import NODE, BaremetalNodeRow, PowerState
from trimtab_common.domain.compute_terms import ServerGroup, ServerState
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot, MetricsTable

NOW = datetime(2026, 11, 23, tzinfo=UTC)
KINDS = np.array([(16, 32768, 400), (32, 131072, 1500), (48, 196608, 2000), (64, 262144, 3000)])
FLAVORS = np.array([(1, 2048, 10), (2, 4096, 20), (2, 8192, 0), (4, 8192, 40), (8, 16384, 80)])
ODD_FLAVORS = np.array([(0, 0, 0), (3, 5000, 7), (16, 65536, 500)])
REASONS = (None, "operator", "watcher_disabled", "watcher_maintaining")
GROUP_POLICIES = ("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")


@dataclass(frozen=True)
class Cloud:
    snapshot: ComputeSnapshot
    metrics: MetricsTable
    baremetal: ElementSnapshot


def random_cloud(seed):
    """A cloud; small ones are more frequent, because they break more things a second."""
    rng = np.random.default_rng(seed)
    n_hosts = int(5 + 195 * rng.random() ** 4)
    odd = 0.2 if rng.random() < 0.8 else 0.0
    hosts = _hosts(rng, n_hosts, odd)
    servers = _servers(rng, hosts, odd)
    snapshot = ComputeSnapshot(epoch="oracle", revision=1, taken_at=NOW, **hosts, **servers)
    metrics = _metrics(rng, snapshot, odd)
    return Cloud(snapshot=snapshot, metrics=metrics, baremetal=_machines(rng, snapshot))


def _machines(rng, snapshot):
    """A machine for most hosts, some of them off or in maintenance."""
    states = [PowerState.ON, PowerState.ON, PowerState.OFF, PowerState.UNKNOWN]
    nodes = tuple(
        BaremetalNodeRow(
            uuid=str(uuid.UUID(int=1000 + i)),
            compute_node_id=host_uuid,
            power_state=states[rng.integers(len(states))],
            maintenance=bool(rng.random() < 0.1),
        )
        for i, host_uuid in enumerate((*snapshot.host_uuid, "no-compute-node"))
        if rng.random() < 0.9
    )
    return ElementSnapshot(epoch="oracle", revision=1, taken_at=NOW, rows={NODE: nodes})


def _hosts(rng, n, odd):
    inventory = KINDS[rng.integers(len(KINDS), size=n)].astype(np.int64)
    inventory[rng.random(n) < odd / 10] = 0
    enabled = rng.random(n) >= odd / 3
    reason = rng.integers(len(REASONS), size=n)
    zoned = rng.random() < 0.3
    return {
        "host_uuid": tuple(str(uuid.UUID(int=i + 1)) for i in range(n)),
        "host_name": tuple(f"host-{i:03d}" for i in range(n)),
        "host_inventory": inventory,
        "host_reserved": np.where(inventory > 0, [0, int(rng.choice([0, 2048])), 0], 0),
        "host_ratio": np.tile([float(rng.choice([1.0, 2.0, 4.0])), 1.0, 1.0], (n, 1)),
        "host_up": rng.random(n) >= odd / 4,
        "host_enabled": enabled,
        "host_disabled_reason": tuple(
            None if e else REASONS[r] for e, r in zip(enabled, reason, strict=True)
        ),
        "host_zone": rng.integers(2, size=n).astype(np.int32)
        if zoned
        else np.full(n, -1, np.int32),
        "zones": ("z0", "z1") if zoned else (),
    }


def _servers(rng, hosts, odd):
    n_hosts = len(hosts["host_name"])
    n = int(n_hosts * rng.uniform(0.5, 20))
    flavor = FLAVORS[rng.integers(len(FLAVORS), size=n)].astype(np.int64)
    strange = rng.random(n) < odd / 5
    flavor[strange] = ODD_FLAVORS[rng.integers(len(ODD_FLAVORS), size=int(strange.sum()))]
    host = _fill(rng, hosts, flavor, is_packed=rng.random() < 0.85)
    lost = rng.random(n) < odd / 10
    host[lost] = NO_HOST
    states = [ServerState.ACTIVE] * 8 + [ServerState.PAUSED, ServerState.STOPPED]
    state = np.array([int(s) for s in states])[rng.integers(len(states), size=n)]
    if odd:
        state[rng.random(n) < 0.03] = int(ServerState.SUSPENDED)
        state[rng.random(n) < 0.02] = int(ServerState.ERROR)
    uuids = rng.integers(0, 256, size=(n, 16), dtype=np.uint8)
    uuids = uuids[np.lexsort(uuids.T[::-1])] if n else uuids
    optimize = np.flatnonzero(rng.random(n) < odd)
    pinned = np.flatnonzero(rng.random(n) < odd / 4) if hosts["zones"] else ()
    return {
        "server_uuid": uuids,
        "server_name": tuple(f"server-{i:04d}" for i in range(n)),
        "server_host": host,
        "server_demand": flavor,
        "server_state": state.astype(np.int8),
        "server_locked": rng.random(n) < odd / 10,
        "server_excluded": rng.random(n) < odd / 4,
        "server_project": rng.integers(3, size=n).astype(np.int32),
        "server_in_flux": rng.random(n) < odd / 20,
        "server_created_at_s": rng.integers(1_700_000_000, 1_800_000_000, size=n),
        "projects": ("p0", "p1", "p2"),
        "server_metadata": {
            int(i): {
                "optimize": str(rng.choice(["true", "false", "yes"])),
                "watcher-priority": str(rng.choice(["1", "8", "", "high"])),
            }
            for i in optimize
        },
        "server_missing_host": {int(i): "gone" for i in np.flatnonzero(lost)},
        "server_pinned_zone": {
            int(i): str(rng.choice(["z0", "z1"])) for i in pinned
        },
        "groups": tuple(_groups(rng, uuids, odd)),
    }  # fmt: skip


def _fill(rng, hosts, flavor, *, is_packed):
    """Servers on hosts: most clouds within their capacity, some far beyond it."""
    n_hosts, n = len(hosts["host_name"]), len(flavor)
    free = (hosts["host_inventory"] - hosts["host_reserved"]) * hosts["host_ratio"]
    weight = rng.choice([0.1, 0.5, 1.0, 1.0, 2.0], n_hosts)
    wish = rng.choice(n_hosts, n, p=weight / weight.sum()).astype(np.int32)
    host = np.full(n, NO_HOST, dtype=np.int32)
    for i in range(n):
        place = wish[i]
        for _ in range(6 if is_packed else 0):
            if (free[place] >= flavor[i]).all():
                break
            place = rng.integers(n_hosts)
        if is_packed and not (free[place] >= flavor[i]).all():
            continue
        free[place] -= flavor[i]
        host[i] = place
    return host


def _groups(rng, uuids, odd):
    n = len(uuids)
    for g in range(int(rng.integers(0, 1 + n // 8)) if odd else 0):
        members = rng.choice(n, size=int(rng.integers(1, 5)), replace=False)
        yield ServerGroup(
            uuid=str(uuid.UUID(int=10_000 + g)),
            name=f"group-{g}",
            policy=str(rng.choice(GROUP_POLICIES, p=[0.6, 0.15, 0.15, 0.1])),
            members=frozenset(str(uuid.UUID(bytes=uuids[m].tobytes())) for m in members),
            max_per_host=int(rng.integers(1, 3)) if rng.random() < 0.3 else None,
        )


def _metrics(rng, snapshot, odd):
    n_hosts, n = snapshot.n_hosts, snapshot.n_servers
    heat = rng.choice([0.4, 0.8, 1.0, 1.3, 1.8], n_hosts + 1)
    cpu = np.minimum(100.0, rng.beta(1.4, 3, n) * 100 * heat[snapshot.server_host])
    ram = snapshot.server_demand[:, 1] * rng.uniform(0.2, 1.0, n)
    mapped = snapshot.server_host >= 0
    cores, memory = np.zeros(n_hosts), np.zeros(n_hosts)
    np.add.at(
        cores, snapshot.server_host[mapped], (snapshot.server_demand[:, 0] * cpu / 100)[mapped]
    )
    np.add.at(memory, snapshot.server_host[mapped], ram[mapped])
    vcpus = np.maximum(snapshot.host_inventory[:, 0], 1)
    cache = rng.uniform(1e6, 3e7, n)
    columns = {
        "host_cpu_usage": np.minimum(100.0, cores / vcpus * 100 + 1),
        "host_ram_usage": (memory + 2048) * 1024,
        "host_outlet_temp": rng.uniform(18, 48, n_hosts),
        "host_inlet_temp": rng.uniform(15, 35, n_hosts),
        "host_airflow": rng.uniform(100, 600, n_hosts),
        "host_power": rng.uniform(100, 500, n_hosts),
        "instance_cpu_usage": cpu,
        "instance_ram_usage": ram,
        "instance_l3_cache_usage": cache,
        "instance_l3_cache_usage_2p": cache * rng.choice([0.7, 1.0, 1.0, 1.0, 1.3], n),
    }
    for column in columns.values():
        column[rng.random(len(column)) < odd / 8] = np.nan
    present = {k: v for k, v in columns.items() if rng.random() >= odd / 40}
    return MetricsTable(
        host={k: v for k, v in present.items() if k.startswith("host_")},
        server={k: v for k, v in present.items() if k.startswith("instance_")},
    )
