"""The same made-up load for every backend: steady processors, memory that swings once a minute."""

from __future__ import annotations

import random
import time
import uuid
from dataclasses import dataclass, field

from trimtab_common.domain.changes import HostRow, ServerRow
from trimtab_common.domain.compute import ComputeModel

STEP_S = 30
CYCLE_S = 60
SWING = 0.05
HOST_VCPUS = 4
HOST_MEMORY_KIB = 64 * 1024 * 1024
BEFORE_S, AFTER_S = 1200, 900


@dataclass(frozen=True)
class Load:
    """Usage by hostname and uuid. cpu in percent, memory in KiB (hosts) and MiB (servers)."""

    host_cpu: dict[str, float]
    host_ram: dict[str, float]
    server_cpu: dict[str, float]
    server_ram: dict[str, float]
    vcpus: dict[str, int]
    host_of: dict[str, str]
    began_s: int = field(default_factory=lambda: int(time.time()) // CYCLE_S * CYCLE_S)

    def snapshot(self):
        hosts = [
            HostRow(
                uuid=str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
                hostname=name,
                inventory=(HOST_VCPUS, 65536, 100),
            )
            for name in self.host_cpu
        ]
        servers = [
            ServerRow(
                uuid=key,
                name=key[:8],
                hostname=self.host_of[key],
                demand=(self.vcpus[key], 1024, 10),
            )
            for key in self.server_cpu
        ]
        return ComputeModel.from_rows(hosts, servers).snapshot()

    def times(self):
        return range(self.began_s - BEFORE_S, self.began_s + AFTER_S, STEP_S)

    def swung(self, value, moment):
        return value * (1 + (SWING if (moment // STEP_S) % 2 else -SWING))


def made_up(n_hosts, n_servers, seed=1):
    rng = random.Random(seed)
    hosts = [f"compute-{i}" for i in range(n_hosts)]
    servers = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(n_servers)]
    return Load(
        host_cpu={h: rng.uniform(2, 95) for h in hosts},
        host_ram={h: rng.uniform(0.1, 0.9) * HOST_MEMORY_KIB for h in hosts},
        server_cpu={s: rng.uniform(1, 99) for s in servers},
        server_ram={s: rng.uniform(64, 8192) for s in servers},
        vcpus={s: rng.choice([1, 2, 4, 8]) for s in servers},
        host_of={s: hosts[i % n_hosts] for i, s in enumerate(servers)},
    )
