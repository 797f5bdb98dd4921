import copy
import json

import pytest

from trimtab_fakecloud import main as command
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.contents import fill
from trimtab_fakecloud.errors import ClusterFileError
from trimtab_fakecloud.servers import VmState
from trimtab_fakecloud.settings import CloudSpec


class StillClock:
    """It is always the same moment."""

    def time(self):
        return 1_800_000_000.0

    async def sleep(self, _seconds):
        raise AssertionError("nothing waits here")


def cloud_of(**spec):
    cloud = Cloud(CloudSpec(**spec), StillClock())
    fill(cloud)
    return cloud


NODE = {
    "uuid": "7b2a3a5e-0000-4000-8000-000000000001",
    "hostname": "compute-00000",
    "vcpus": 32,
    "memory_mb": 131072,
    "disk_gb": 1500,
    "vcpu_reserved": 0,
    "memory_mb_reserved": 2048,
    "disk_gb_reserved": 20,
    "vcpu_ratio": 2.0,
    "memory_ratio": 1.0,
    "disk_ratio": 1.0,
    "state": "up",
    "status": "disabled",
    "disabled_reason": "operator",
    "power_state": "on",
    "metrics": {},
}
INSTANCE = {
    "uuid": "7b2a3a5e-0000-4000-8000-000000000002",
    "name": "vm-000000",
    "vcpus": 2,
    "memory_mb": 4096,
    "disk_gb": 20,
    "host": "compute-00000",
    "state": "paused",
    "project_id": "f" * 32,
    "locked": False,
    "metadata": {"watcher-priority": "3"},
    "created": "2026-03-04T05:00:00Z",
    "metrics": {"instance_cpu_usage": 12.5, "instance_ram_usage": 1000.5},
}
CLUSTER = {"format": "peer-cluster/1", "seed": 1, "nodes": [NODE], "instances": [INSTANCE]}


@pytest.fixture
def load(tmp_path):
    def load(content):
        path = tmp_path / "cluster.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return cloud_of(cluster_file=path)

    return load


def test_the_same_seed_gives_the_same_cloud():
    first, second, other = cloud_of(seed=5), cloud_of(seed=5), cloud_of(seed=6)
    assert first.servers == second.servers
    assert first.hosts == second.hosts
    assert list(first.servers) != list(other.servers)


def test_the_generated_cloud_is_uneven_and_fits():
    cloud = cloud_of(hosts=8, servers=40)
    counts = [len(cloud.servers_on(name)) for name in cloud.hosts]
    assert sum(counts) == 40
    assert max(counts) >= 2 * min(counts) + 1
    for host in cloud.hosts.values():
        assert cloud.allocations.fits(host, {})
        assert {cloud.zone_of(host.name)} <= {"az1", "az2"}


def test_too_many_servers_are_refused_with_advice():
    with pytest.raises(ClusterFileError, match="fewer servers or more hosts"):
        cloud_of(hosts=1, servers=500)


def test_a_cluster_file_gives_hosts_states_and_loads(load):
    cloud = load(CLUSTER)
    host = cloud.hosts["compute-00000"]
    assert (host.state, host.status, host.disabled_reason) == ("up", "disabled", "operator")
    assert {n: i.capacity for n, i in host.inventories.items()} == {
        "VCPU": 64,
        "MEMORY_MB": 131072 - 2048,
        "DISK_GB": 1480,
    }
    server = cloud.servers[INSTANCE["uuid"]]
    assert (server.vm_state, server.cpu_pct, server.memory_used_mib) == (
        VmState.PAUSED,
        12.5,
        1000.5,
    )
    assert cloud.allocations.used(host.uuid)["MEMORY_MB"] == 4096


@pytest.mark.parametrize(
    ("where", "change", "message"),
    [
        ("instances", {"host": "nowhere"}, "instance vm-000000 is on an unknown host: nowhere"),
        ("instances", {"vcpus": "two"}, "vcpus must be a number"),
        ("instances", {"memory_mb": -1}, "memory_mb must be finite and at least 0"),
        ("instances", {"state": "flying"}, "state must be one of"),
        ("instances", {"uuid": "x"}, "uuid 'x'"),
        ("instances", {"created": "yesterday"}, "no ISO 8601 time"),
        ("nodes", {"state": None}, "node compute-00000: state must be one of up, down"),
        ("nodes", {"hostname": 7}, "hostname must be a text"),
        ("nodes", {"vcpus": True}, "vcpus must be a number"),
    ],
)
def test_a_cluster_file_that_cannot_be_names_the_element(load, where, change, message):
    cluster = copy.deepcopy(CLUSTER)
    cluster[where][0].update(change)
    with pytest.raises(ClusterFileError, match=message):
        load(cluster)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        (json.dumps(CLUSTER).replace("12.5", "NaN"), "not JSON"),
        ({"format": "other"}, "peer-cluster/1"),
        ({**CLUSTER, "nodes": {}}, "nodes must be a list"),
        ({**CLUSTER, "nodes": [NODE, NODE]}, "there twice"),
        ({**CLUSTER, "instances": [INSTANCE, INSTANCE]}, "there twice"),
    ],
)
def test_a_file_that_is_no_cluster_is_refused(load, content, message):
    with pytest.raises(ClusterFileError, match=message):
        load(content)


def test_the_command_says_what_is_wrong_with_the_file(tmp_path, capsys):
    missing = tmp_path / "missing.json"
    assert command.main(["--port", "0", "--cluster", str(missing)]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_the_command_refuses_ratios_beyond_one(capsys):
    with pytest.raises(SystemExit):
        command.main(["--fail-ratio", "1.5"])
    assert "1.5 is not between 0 and 1.0" in capsys.readouterr().err
