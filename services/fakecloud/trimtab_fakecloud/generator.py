"""Builds a small, uneven cloud from a seed: two zones, mixed hosts, some servers not running."""

import uuid

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import ClusterFileError
from trimtab_fakecloud.hosts import Host, Inventory, inventories
from trimtab_fakecloud.servers import Flavor, Server, VmState
from trimtab_fakecloud.tokens import USERS, stable_id

FLAVORS = (
    Flavor("1", "m1.tiny", 1, 1024, 10),
    Flavor("2", "m1.small", 1, 2048, 20),
    Flavor("3", "m1.medium", 2, 4096, 40),
    Flavor("4", "m1.large", 4, 8192, 80),
)
_FLAVOR_WEIGHTS = (3, 4, 3, 1)
_HOST_KINDS = ((16, 32768, 1000), (32, 65536, 2000), (24, 49152, 1500))
_FILL_WEIGHTS = (3.0, 0.6, 1.5, 0.4)
IMAGE_ID = str(uuid.UUID(stable_id("image", "cirros")))


def generate(cloud: Cloud) -> None:
    """Fill an empty cloud as its spec says.

    Raises:
        ClusterFileError: that many servers do not fit.
    """
    for flavor in FLAVORS:
        cloud.flavors[flavor.id] = flavor
    for index in range(cloud.spec.hosts):
        _add_host(cloud, index)
    names = list(cloud.hosts)
    for zone, members in (("az1", names[::2]), ("az2", names[1::2])):
        if members:
            cloud.add_aggregate(zone, members, {"availability_zone": zone})
    weights = {name: cloud.rng.choice(_FILL_WEIGHTS) for name in names}
    for index in range(cloud.spec.servers):
        _add_server(cloud, index, weights)


def _add_host(cloud: Cloud, index: int) -> None:
    vcpus, memory_mib, disk_gib = _HOST_KINDS[index % len(_HOST_KINDS)]
    cloud.add_host(
        Host(
            name=f"compute-{index + 1}",
            number=index + 1,
            uuid=cloud.new_uuid(),
            service_uuid=cloud.new_uuid(),
            inventories=inventories(
                vcpus=Inventory(vcpus, 0, 4.0),
                memory_mib=Inventory(memory_mib, 2048),
                disk_gib=Inventory(disk_gib, 20),
            ),
            updated_at=cloud.began_at,
        )
    )


def _add_server(cloud: Cloud, index: int, weights: dict[str, float]) -> None:
    rng = cloud.rng
    flavor = rng.choices(FLAVORS, weights=_FLAVOR_WEIGHTS)[0]
    fitting = [
        name for name, host in cloud.hosts.items() if cloud.allocations.fits(host, flavor.resources)
    ]
    if not fitting:
        raise ClusterFileError(
            f"only {index} of {cloud.spec.servers} servers fit on {cloud.spec.hosts} hosts: "
            "ask for fewer servers or more hosts"
        )
    host = rng.choices(fitting, weights=[weights[name] for name in fitting])[0]
    drawn = rng.random()
    created_at = cloud.began_at - rng.uniform(3600, 30 * 86400)
    cloud.add_server(
        Server(
            id=cloud.new_uuid(),
            name=f"vm-{index:04d}",
            project_id=USERS[2].project_id,
            user_id=USERS[2].id,
            flavor=flavor,
            host=host,
            created_at=created_at,
            updated_at=created_at,
            launched_at=created_at + 5,
            vm_state=VmState.ACTIVE
            if drawn < 0.94  # noqa: PLR2004, shares as in the peer's generator
            else VmState.STOPPED
            if drawn < 0.98  # noqa: PLR2004, same
            else VmState.PAUSED,
            image_id=IMAGE_ID if rng.random() < 0.9 else None,  # noqa: PLR2004, the rest from volumes
            cpu_pct=round(min(100.0, rng.betavariate(1.4, 4.0) * 100), 1),
            memory_used_mib=round(flavor.memory_mib * rng.uniform(0.25, 0.9), 1),
        )
    )
