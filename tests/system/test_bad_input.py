"""Bad input and missing parts: the error that the requirement names, and nothing changed."""

from __future__ import annotations

import json

import httpx
import pytest

ERROR_MEMBERS = {"faultcode", "faultstring", "debuginfo"}


def fault(response):
    """The double encoded error of A-014."""
    inner = json.loads(response.json()["error_message"])
    assert set(inner) == ERROR_MEMBERS
    return inner


@pytest.fixture(params=["envoy", "asgi"])
def door(request, system):
    url = system.url if request.param == "envoy" else system.asgi_url
    with httpx.Client(base_url=url, timeout=10) as client:
        yield client


@pytest.fixture
def unchanged(rest):
    """The audits are the same after the test."""
    before = rest.get("/v1/audits")
    yield
    assert rest.get("/v1/audits") == before


CASES = {
    "unknown goal": ({"audit_type": "ONESHOT", "goal": "world_peace"}, 404),
    "wrong type": ({"audit_type": "ONESHOT", "goal": ["dummy"]}, 400),
    "unknown member": ({"audit_type": "ONESHOT", "goal": "dummy", "colour": "red"}, 400),
    "unknown audit type": ({"audit_type": "NEVER", "goal": "dummy"}, 400),
    "unknown parameter": (
        {"audit_type": "ONESHOT", "goal": "dummy", "strategy": "dummy", "parameters": {"x": 1}},
        400,
    ),
    "parameter out of bounds": (
        {
            "audit_type": "ONESHOT",
            "goal": "dummy",
            "strategy": "dummy",
            "parameters": {"para1": 99},
        },
        400,
    ),
}


@pytest.mark.req("A-008", "A-014", "A-050", "A-051", "A-054")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("unchanged")
def test_a_wrong_audit_is_refused_and_changes_nothing(case, door):
    body, status = CASES[case]
    response = door.post("/v1/audits", json=body)
    assert response.status_code == status, response.text
    assert fault(response)["faultcode"] == "Client"
    assert response.headers["x-openstack-request-id"].startswith("req-")


@pytest.mark.req("A-014", "A-016")
@pytest.mark.usefixtures("unchanged")
def test_bad_json_is_a_400(door):
    response = door.post(
        "/v1/audits", content=b'{"audit_type": ', headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert fault(response)["faultcode"] == "Client"


@pytest.mark.usefixtures("unchanged")
def test_a_body_of_five_megabytes_is_refused_with_413_and_a_request_id(door):
    response = door.post("/v1/audits", content=b'{"x": "' + b"y" * 5_000_000 + b'"}')
    assert response.status_code == 413
    assert fault(response)["faultstring"] == "The request body is larger than 4194304 bytes."
    assert response.headers["x-openstack-request-id"].startswith("req-")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["nodes"][0].update(vcpu_ratio=float("nan")), "vcpu_ratio"),
        (lambda c: c["instances"][0].update(host="nowhere"), "nowhere"),
        (lambda c: c["instances"][0].update(vcpus="many"), "vcpus"),
        (
            lambda c: c["instances"][0]["metrics"].update(instance_cpu_usage=float("inf")),
            "instance_cpu_usage",
        ),
    ],
    ids=["nan", "unknown host", "wrong type", "infinite metric"],
)
def test_a_broken_cluster_file_is_refused_with_the_element_named(change, words, trimtab, tmp_path):
    cluster = {
        "format": "peer-cluster/1",
        "nodes": [
            {
                "uuid": "6f3b1b3c-0d8e-4c0e-9a58-52c29d3f6a10",
                "hostname": "compute-0",
                "vcpus": 16,
                "memory_mb": 32768,
                "disk_gb": 500,
                "vcpu_reserved": 0,
                "memory_mb_reserved": 0,
                "disk_gb_reserved": 0,
                "vcpu_ratio": 1.0,
                "memory_ratio": 1.0,
                "disk_ratio": 1.0,
                "state": "up",
                "status": "enabled",
                "disabled_reason": None,
                "metrics": {"host_cpu_usage": 10.0, "host_ram_usage": 1024.0},
            }
        ],
        "instances": [
            {
                "uuid": "0b4ff7a4-7e9b-4c85-8bd5-1bd3a1a2f001",
                "name": "vm-0",
                "vcpus": 1,
                "memory_mb": 1024,
                "disk_gb": 5,
                "host": "compute-0",
                "state": "active",
                "project_id": "p",
                "locked": False,
                "metadata": {},
                "created": "2026-01-01T00:00:00Z",
                "metrics": {"instance_cpu_usage": 10.0, "instance_ram_usage": 512.0},
            }
        ],
    }
    change(cluster)
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(cluster))
    result = trimtab("simulate", "--cluster", str(path), "--goal", "server_consolidation")
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
