"""Large synthetic clouds straight as columns: three kinds of hosts, six flavors, skewed load."""

import uuid
from datetime import UTC, datetime

import numpy as np

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable

KINDS = np.array([(32, 131072, 1500), (48, 196608, 2000), (64, 262144, 3000)])
FLAVORS = np.array(
    [(1, 2048, 10), (2, 4096, 20), (2, 8192, 40), (4, 8192, 40), (4, 16384, 80), (8, 16384, 80)]
)
POPULARITY = [0.3, 0.3, 0.12, 0.15, 0.07, 0.06]


def synthetic_cloud(n_hosts, n_servers, seed):
    """(snapshot, metrics): 4 % of the hosts empty, 2 % disabled by an operator, 1 % down."""
    rng = np.random.default_rng(seed)
    inventory = KINDS[rng.choice(3, n_hosts, p=[0.3, 0.4, 0.3])]
    reserved = np.tile([0, 2048, 20], (n_hosts, 1))
    ratio = np.tile([2.0, 1.0, 1.0], (n_hosts, 1))
    free = (inventory - reserved) * ratio
    order = rng.permutation(n_hosts)
    usable = np.sort(order[n_hosts // 25 :])
    flavor = FLAVORS[rng.choice(6, n_servers, p=POPULARITY)]
    weight = rng.choice([0.3, 0.6, 1, 1, 1.4, 2], len(usable)) * inventory[usable, 0]
    wish = rng.choice(usable, n_servers, p=weight / weight.sum())
    host = np.empty(n_servers, dtype=np.int32)
    for i in range(n_servers):
        place = wish[i]
        while (free[place] < flavor[i]).any():
            place = rng.choice(usable)
        free[place] -= flavor[i]
        host[i] = place
    heat = rng.choice([0.4, 0.8, 1, 1, 1.3, 1.8], n_hosts)
    state = rng.choice(
        [int(ServerState.ACTIVE), int(ServerState.STOPPED), int(ServerState.PAUSED)],
        n_servers,
        p=[0.94, 0.04, 0.02],
    ).astype(np.int8)
    cpu = np.minimum(100, rng.beta(1.4, 4, n_servers) * 100 * heat[host])
    cpu[state != int(ServerState.ACTIVE)] = 0
    ram = flavor[:, 1] * rng.uniform(0.25, 0.95, n_servers)
    cores, used_ram = np.zeros(n_hosts), np.zeros(n_hosts)
    np.add.at(cores, host, flavor[:, 0] * cpu / 100)
    np.add.at(used_ram, host, ram)
    up, enabled = np.ones(n_hosts, dtype=bool), np.ones(n_hosts, dtype=bool)
    start = n_hosts // 25
    enabled[order[start : start + n_hosts // 50]] = False
    up[order[-max(1, n_hosts // 100) :]] = False
    snapshot = ComputeSnapshot(
        epoch="synthetic",
        revision=1,
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        host_uuid=tuple(str(uuid.UUID(int=i)) for i in range(n_hosts)),
        host_name=tuple(f"host-{i:05d}" for i in range(n_hosts)),
        host_inventory=inventory,
        host_reserved=reserved,
        host_ratio=ratio,
        host_up=up,
        host_enabled=enabled,
        host_disabled_reason=tuple(None if e else "operator" for e in enabled),
        host_zone=np.full(n_hosts, -1, dtype=np.int32),
        server_uuid=np.frombuffer(
            b"".join(i.to_bytes(16, "big") for i in range(n_servers)), dtype=np.uint8
        ).reshape(n_servers, 16),
        server_name=tuple(f"server-{i:06d}" for i in range(n_servers)),
        server_host=host,
        server_demand=flavor.astype(np.int64),
        server_state=state,
        server_locked=np.zeros(n_servers, dtype=bool),
        server_excluded=np.zeros(n_servers, dtype=bool),
        server_project=np.zeros(n_servers, dtype=np.int32),
        projects=("p",),
    )
    metrics = MetricsTable(
        host={
            "host_cpu_usage": np.minimum(100, 100 * cores / inventory[:, 0] + 1),
            "host_ram_usage": (used_ram + 2048) * 1024,
        },
        server={"instance_cpu_usage": cpu, "instance_ram_usage": ram},
    )
    return snapshot, metrics
