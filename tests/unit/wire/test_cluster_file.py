"""Cluster files: what is read, and the error for each thing that can be wrong."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.wire.cluster_file import load_cluster_file, parse_cluster

CLUSTER = {
    "format": "peer-cluster/1",
    "nodes": [
        {
            "uuid": f"00000000-0000-4000-8000-00000000000{i}",
            "hostname": f"compute-{i}",
            "vcpus": 32,
            "memory_mb": 1024,
            "disk_gb": 100,
            "memory_mb_reserved": 24,
            "vcpu_ratio": 2.0,
            "state": "up",
            "status": "enabled",
            "disabled_reason": None,
            "metrics": {"host_cpu_usage": 10.0 * i},
        }
        for i in (2, 1)
    ],
    "instances": [
        {
            "uuid": f"00000000-0000-4000-8000-0000000000{i}0",
            "name": f"vm-{i}",
            "vcpus": 1,
            "memory_mb": 64,
            "disk_gb": 5,
            "host": "compute-2",
            "state": "stopped",
            "project_id": "p",
            "locked": True,
            "metadata": {"k": "v"},
            "created": "2026-03-01T04:00:00Z",
            "metrics": {"instance_cpu_usage": float(i)},
        }
        for i in (9, 8)
    ],
}


def changed(path, value):
    cluster = copy.deepcopy(CLUSTER)
    *way, last = path
    place = cluster
    for step in way:
        place = place[step]
    place[last] = value
    return json.dumps(cluster).encode()


def test_a_good_file_gives_a_snapshot_and_metrics_in_its_order(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(CLUSTER))
    snapshot, metrics = load_cluster_file(path)
    assert snapshot.host_name == ("compute-1", "compute-2")
    assert snapshot.capacity()[0].tolist() == [64, 1000, 100]
    assert snapshot.server_name == ("vm-8", "vm-9")
    assert snapshot.server_host.tolist() == [1, 1]
    assert snapshot.server_state.tolist() == [ServerState.STOPPED] * 2
    assert snapshot.server_created_at_s.tolist() == [1772337600] * 2
    assert snapshot.server_metadata[0] == {"k": "v"}
    assert metrics.host["host_cpu_usage"].tolist() == [10, 20]
    assert metrics.server["instance_cpu_usage"].tolist() == [8, 9]


def test_a_missing_value_is_nan():
    data = changed(("nodes", 0, "metrics"), {})
    _, metrics = parse_cluster(data)
    assert np.isnan(metrics.host["host_cpu_usage"][1])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("nodes", 0, "vcpus"), float("nan"), r"nodes\[0\].vcpus: must be an integer, is NaN"),
        (("nodes", 0, "vcpus"), -1, r"nodes\[0\].vcpus: must be between 0 and .*, is -1"),
        (("nodes", 0, "vcpus"), "many", r'nodes\[0\].vcpus: must be an integer, is "many"'),
        (("nodes", 0, "vcpus"), True, r"nodes\[0\].vcpus: must be an integer, is true"),
        (("nodes", 0, "vcpu_ratio"), float("inf"), r"nodes\[0\].vcpu_ratio: must be finite"),
        (("nodes", 1, "hostname"), "compute-2", r'nodes\[1\].hostname: "compute-2" comes twice'),
        (("nodes", 0, "state"), "odd", r"nodes\[0\].state: must be one of up, down"),
        (("nodes", 0), [], r"nodes\[0\]: must be an object"),
        (("nodes",), {}, "nodes: must be a list"),
        (("nodes", 0, "metrics", "host_cpu_usage"), float("nan"), r"nodes\[0\].metrics.host_cpu"),
        (("instances", 1, "host"), "nope", r'instances\[1\].host: no node has hostname "nope"'),
        (("instances", 1, "uuid"), CLUSTER["instances"][0]["uuid"], r"instances\[1\].uuid.* twice"),
        (("instances", 0, "uuid"), "x", r"instances\[0\].uuid: 'x' is not a uuid"),
        (("instances", 0, "memory_mb"), None, r"instances\[0\].memory_mb: .* is missing"),
        (("instances", 0, "locked"), "no", r"instances\[0\].locked: must be true or false"),
        (("instances", 0, "metadata"), {"a": 1}, r"instances\[0\].metadata: must be an object"),
        (("instances", 0, "created"), "yesterday", r"instances\[0\].created: must be an ISO"),
        (
            ("instances", 0, "metrics", "instance_cpu_usage"),
            -3,
            r"instances\[0\].metrics.instance_cpu_usage: must not be negative, is -3",
        ),
        (("format",), "other", 'A cluster file is a JSON object with "format"'),
    ],
)
def test_a_wrong_field_is_named(path, value, message):
    with pytest.raises(InvalidArgument, match=message):
        parse_cluster(changed(path, value))


def test_text_that_is_not_json_is_refused():
    with pytest.raises(InvalidArgument, match="Not JSON"):
        parse_cluster(b'{"nodes": [')


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="No such file"):
        load_cluster_file(tmp_path / "none.json")
