"""Parts of the cloud fail, one at a time: a clear state and message, nothing lost, no restart needed."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
from real_cloud import OURS, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"}
HOSTS = "6"


@pytest.fixture
def script(reference) -> Callable[..., None]:
    """Runs one of the cloud's own scripts."""

    def run(name: str, *arguments: str) -> None:
        command = [str(reference / "cloud" / name), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"

    return run


def audited(rest, goal, strategy, **parameters):
    """An audit, ended."""
    body = {"audit_type": "ONESHOT", "goal": goal, "strategy": strategy}
    audit = rest.post("/v1/audits", body | {"parameters": parameters})
    return rest.wait(f"/v1/audits/{audit['uuid']}", lambda a: a["state"] in ENDED, timeout_s=120)


def plan_of(rest, audit):
    assert audit["state"] == "SUCCEEDED", audit["status_message"]
    return rest.get(f"/v1/action_plans/detail?audit_uuid={audit['uuid']}")["action_plans"][0]


def stabilized(rest):
    return audited(rest, "workload_balancing", "workload_stabilization")


def test_without_prometheus_an_audit_says_so_and_with_it_works_again(rest, uneven, script):
    del uneven
    script("metrics", "down")
    try:
        failed = stabilized(rest)
    finally:
        script("metrics", "up")
    assert failed["state"] == "FAILED"
    assert "rometheus" in failed["status_message"]
    assert stabilized(rest)["state"] == "SUCCEEDED"


def maintenance_of_a_host_with_a_slow_server(rest, cloud, seconds):
    """A plan that moves one server of ours for so long: the server, its host, the plan."""
    crowd = dict.fromkeys(cloud.services(), 0)
    for server in cloud.servers().values():
        crowd[server.host] += 1
    host = min(crowd, key=crowd.get)
    uuid = cloud.create(
        f"{OURS}slow", host=host, metadata={"devcloud_live_migration_seconds": str(seconds)}
    )
    cloud.active(uuid)
    eventually(
        lambda: uuid in {row.get("server_uuid") for row in rest.get("/v1/data_model")["context"]},
        "the model has the server",
        15,
    )
    plan = plan_of(
        rest, audited(rest, "cluster_maintaining", "host_maintenance", maintenance_node=host)
    )
    return uuid, host, plan


def ended(rest, plan, timeout_s):
    path = f"/v1/action_plans/{plan['uuid']}"
    return rest.wait(path, lambda p: p["state"] in ENDED, timeout_s=timeout_s)


def migrating(cloud, uuid):
    return lambda: any(m["status"] == "running" for m in cloud.migrations(uuid))


def test_a_compute_that_dies_in_a_migration_fails_the_action_and_loses_nothing(
    rest, uneven, script
):
    uuid, host, plan = maintenance_of_a_host_with_a_slow_server(rest, uneven, 60)
    before = uneven.servers().keys()
    rest.post(f"/v1/action_plans/{plan['uuid']}/start")
    eventually(migrating(uneven, uuid), "the migration runs", 60)
    script("computes", "kill", host)
    script("computes", HOSTS)  # as a supervisor would
    done = ended(rest, plan, 240)
    assert done["state"] in {"SUCCEEDED", "FAILED"}
    if done["state"] == "FAILED":
        actions = rest.get(f"/v1/actions/detail?action_plan_uuid={plan['uuid']}")["actions"]
        assert any(a["status_message"] for a in actions if a["state"] == "FAILED"), actions
    assert uneven.servers().keys() == before
    eventually(
        lambda: all(s["state"] == "up" for s in uneven.services().values()), "all hosts are up", 90
    )
    uneven.enable_all()
    uneven.forget_orphans()
    uneven.delete(uuid)
    again = audited(rest, "server_consolidation", "vm_workload_consolidation")
    assert again["state"] == "SUCCEEDED", again["status_message"]


@contextmanager
def stopped(name):
    """A process of the cloud that answers nobody while this lasts."""
    home = Path(os.environ.get("CLOUD_HOME", "/opt/devcloud"))
    leader = int((home / "run" / f"{name}.pid").read_text().split()[0])
    os.killpg(leader, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(leader, signal.SIGCONT)


def test_while_nova_does_not_answer_a_plan_waits_and_then_goes_on(rest, uneven):
    uuid, host, plan = maintenance_of_a_host_with_a_slow_server(rest, uneven, 10)
    rest.post(f"/v1/action_plans/{plan['uuid']}/start")
    eventually(migrating(uneven, uuid), "the migration runs", 60)
    with stopped("nova-api"):
        # the migration goes on beneath; the plan must neither end nor fail for want of an answer
        began = rest.get(f"/v1/action_plans/{plan['uuid']}")["state"]
        signal.sigtimedwait([signal.SIGUSR2], 20)
        assert rest.get(f"/v1/action_plans/{plan['uuid']}")["state"] == began == "ONGOING"
    done = ended(rest, plan, 180)
    assert done["state"] == "SUCCEEDED", done["status_message"]
    assert uneven.server(uuid).host != host
    uneven.enable_all()
    uneven.delete(uuid)
