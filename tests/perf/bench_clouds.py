"""A cloud as rows, and what Nova would say of its life, both seeded: the load of the bench."""

from __future__ import annotations

import json
import random
import uuid

from synthetic_clouds import synthetic_cloud

from trimtab_common.domain.changes import HostRow, ServerRow
from trimtab_common.domain.compute_terms import ServerState

KINDS = ((32, 131072, 1500), (48, 196608, 2000), (64, 262144, 3000))
FLAVORS = ((1, 2048, 10), (2, 4096, 20), (2, 8192, 40), (4, 8192, 40), (4, 16384, 80))
MIX = {  # of a hundred
    "instance.update": 60,
    "instance.live_migration_post_dest.end": 15,
    "instance.create.end": 10,
    "instance.delete.end": 10,
    "service.update": 5,
}


def _uuid(rng):
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def cloud_rows(n_hosts, n_servers, seed):
    """(hosts, servers): nobody checks that they fit, because nothing here depends on it."""
    rng = random.Random(seed)
    hosts = [
        HostRow(
            uuid=_uuid(rng),
            hostname=f"compute-{n:05d}",
            inventory=rng.choice(KINDS),
            reserved=(0, 2048, 20),
            ratio=(2.0, 1.0, 1.0),
        )
        for n in range(n_hosts)
    ]
    servers = [
        ServerRow(
            uuid=_uuid(rng),
            name=f"vm-{n:06d}",
            hostname=rng.choice(hosts).hostname,
            demand=rng.choice(FLAVORS),
            project_id=f"{rng.randrange(max(4, n_hosts // 20)):032x}",
            metadata={"watcher-priority": str(rng.randint(1, 9))},
            created_at_s=1_767_225_600 + n,
        )
        for n in range(n_servers)
    ]
    return hosts, servers


def cluster_file(n_hosts, n_servers, seed):
    """The same kind of cloud as a cluster file: every server fits where it is."""
    snapshot, metrics = synthetic_cloud(n_hosts, n_servers, seed)
    names = ("vcpus", "memory_mb", "disk_gb")
    reserved = ("vcpu_reserved", "memory_mb_reserved", "disk_gb_reserved")
    nodes = [
        {
            "uuid": snapshot.host_uuid[n],
            "hostname": snapshot.host_name[n],
            **dict(zip(names, snapshot.host_inventory[n].tolist(), strict=True)),
            **dict(zip(reserved, snapshot.host_reserved[n].tolist(), strict=True)),
            "vcpu_ratio": 2.0,
            "memory_ratio": 1.0,
            "disk_ratio": 1.0,
            "state": "up" if snapshot.host_up[n] else "down",
            "status": "enabled" if snapshot.host_enabled[n] else "disabled",
            "disabled_reason": snapshot.host_disabled_reason[n],
            "power_state": "on",
            "metrics": {name: float(column[n]) for name, column in metrics.host.items()},
        }
        for n in range(n_hosts)
    ]
    instances = [
        {
            "uuid": snapshot.uuid_of(n),
            "name": snapshot.server_name[n],
            **dict(zip(names, snapshot.server_demand[n].tolist(), strict=True)),
            "host": snapshot.host_name[snapshot.server_host[n]],
            "state": ServerState(int(snapshot.server_state[n])).text,
            "project_id": "p",
            "locked": False,
            "metadata": {},
            "created": "2026-01-01T00:00:00Z",
            "metrics": {name: float(column[n]) for name, column in metrics.server.items()},
        }
        for n in range(n_servers)
    ]
    return {"format": "peer-cluster/1", "seed": seed, "nodes": nodes, "instances": instances}


def _object(name, version, data):
    return {
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": version,
        "nova_object.data": data,
    }


def _instance(server, name, version, *, host=None, state="active", **extra):
    vcpus, memory, disk = server.demand
    flavor = _object(
        "FlavorPayload",
        "1.4",
        {
            "flavorid": f"f-{vcpus}-{memory}",
            "name": f"m1.v{vcpus}",
            "vcpus": vcpus,
            "memory_mb": memory,
            "root_gb": disk,
            "ephemeral_gb": 0,
            "swap": 0,
            "extra_specs": {},
            "disabled": False,
            "is_public": True,
        },
    )
    data = {
        "uuid": server.uuid,
        "user_id": "someone",
        "tenant_id": server.project_id,
        "display_name": server.name,
        "host_name": server.name,
        "host": host or server.hostname,
        "node": host or server.hostname,
        "availability_zone": "nova",
        "flavor": flavor,
        "image_uuid": "155d900f-4e14-4e4c-a73d-069cbf4541e6",
        "created_at": "2026-01-01T00:00:00Z",
        "launched_at": "2026-01-01T00:00:00Z",
        "deleted_at": None,
        "updated_at": "2026-01-01T00:00:00Z",
        "state": state,
        "power_state": "running",
        "task_state": None,
        "progress": 0,
        "ip_addresses": [],
        "block_devices": [],
        "metadata": dict(server.metadata),
        "locked": False,
    }
    return _object(name, version, data | extra)


def notifications(hosts, servers, count, seed):
    """Bodies as oslo.messaging puts them on the wire; each names what lives at that time."""
    rng = random.Random(seed)
    alive = list(servers)
    for number in range(count):
        kind = rng.choices(list(MIX), weights=MIX.values())[0]
        host = rng.choice(hosts).hostname
        if kind == "service.update":
            data = {"host": host, "binary": "nova-compute", "disabled": False}
            data |= {"disabled_reason": None, "forced_down": False, "last_seen_up": None}
            payload = _object("ServiceStatusPayload", "1.1", data)
        elif kind == "instance.create.end":
            demand = rng.choice(FLAVORS)
            new = ServerRow(
                uuid=_uuid(rng),
                name=f"new-{number}",
                hostname=host,
                demand=demand,
                project_id="someone",
            )
            alive.append(new)
            payload = _instance(new, "InstanceCreatePayload", "1.12")
        else:
            at = rng.randrange(len(alive))
            if kind == "instance.delete.end":
                alive[at], alive[-1] = alive[-1], alive[at]
                payload = _instance(alive.pop(), "InstanceActionPayload", "1.8", state="deleted")
            elif kind == "instance.update":
                payload = _instance(alive[at], "InstanceUpdatePayload", "2.0")
            else:
                payload = _instance(alive[at], "InstanceActionPayload", "1.8", host=host)
        message = {
            "message_id": str(uuid.UUID(int=number)),
            "publisher_id": f"nova-compute:{host}",
            "event_type": kind,
            "priority": "INFO",
            "payload": payload,
            "timestamp": f"2026-01-01 {number // 3600 % 24:02d}:{number // 60 % 60:02d}"
            f":{number % 60:02d}.{number % 1_000_000:06d}",
        }
        yield json.dumps({"oslo.version": "2.0", "oslo.message": json.dumps(message)}).encode()
