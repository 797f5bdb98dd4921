"""The main job through the public surface: POST at the gateway, servers moved in the cloud."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToDict

from trimtab.audit.v1 import audit_pb2, audit_pb2_grpc
from trimtab.plan.v1 import plan_pb2, plan_pb2_grpc

ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"}


def run_audit(rest, **body):
    audit = rest.post("/v1/audits", {"audit_type": "ONESHOT", **body})
    return rest.wait(f"/v1/audits/{audit['uuid']}", lambda a: a["state"] in ENDED, timeout_s=60)


def plan_of(rest, audit):
    return rest.get(f"/v1/action_plans/detail?audit_uuid={audit['uuid']}")["action_plans"][0]


def run_plan(rest, plan):
    rest.post(f"/v1/action_plans/{plan['uuid']}/start")
    return rest.wait(
        f"/v1/action_plans/{plan['uuid']}", lambda p: p["state"] in ENDED, timeout_s=120
    )


def state_of_cloud(system):
    return httpx.get(f"{system.fakecloud_url}/control/state").json()


@pytest.mark.req("A-064")
def test_a_dummy_audit_ends_with_two_nops_and_a_sleep(rest):
    audit = run_audit(rest, goal="dummy", strategy="dummy", parameters={"para1": 1.0})
    assert audit["state"] == "SUCCEEDED", audit["status_message"]
    plan = plan_of(rest, audit)
    actions = rest.get(f"/v1/actions?action_plan_uuid={plan['uuid']}")["actions"]
    assert [action["action_type"] for action in actions] == ["nop", "nop", "sleep"]
    assert run_plan(rest, plan)["state"] == "SUCCEEDED"


def explained_everywhere(rest, system, plan):
    """Over gRPC, over HTTP and in the terminal: bound, cost and the curve; each move its reason."""
    with grpc.insecure_channel(f"127.0.0.1:{system.ports.gateway}") as channel:
        stub = plan_pb2_grpc.PlanServiceStub(channel)
        shown = stub.GetActionPlan(
            plan_pb2.GetActionPlanRequest(action_plan=plan["uuid"]), timeout=10
        )
        actions = stub.ListActions(
            plan_pb2.ListActionsRequest(action_plan=plan["uuid"]), timeout=10
        ).actions
    told = MessageToDict(shown.explanation)
    assert told["bound_of"] == "hosts in use"
    assert told["bound"] <= told["value"]
    moves = [action for action in actions if action.action_type == "migrate"]
    assert told["cost"]["migrations"] == told["curve"][-1]["migrations"] == len(moves)
    assert told["curve"][-1]["hosts_in_use"] < told["curve"][0]["hosts_in_use"]
    assert all("can be emptied with" in action.reason for action in moves)
    assert rest.get(f"/trimtab/v1/action_plans/{plan['uuid']}")["explanation"] == told
    command = [str(Path(sys.executable).parent / "trimtab"), "--address"]
    command += [f"127.0.0.1:{system.ports.gateway}", "plan", "show", plan["uuid"]]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "no plan gets below" in printed
    assert "After so many of its migrations" in printed


@pytest.mark.req("B-038", "B-108")
def test_a_consolidation_empties_hosts_and_moves_each_server_once(rest, system):
    audit = run_audit(rest, goal="server_consolidation", strategy="vm_workload_consolidation")
    assert audit["state"] == "SUCCEEDED", audit["status_message"]
    plan = plan_of(rest, audit)
    assert "explanation" not in plan
    explained_everywhere(rest, system, plan)
    actions = rest.get(f"/v1/actions/detail?action_plan_uuid={plan['uuid']}")["actions"]
    moves = [a["input_parameters"] for a in actions if a["action_type"] == "migrate"]
    assert moves
    ended = run_plan(rest, plan)
    assert ended["state"] == "SUCCEEDED", ended["status_message"]
    hosts = {h["hostname"]: h for h in state_of_cloud(system)["hosts"]}
    where = {s["uuid"]: s["host"] for s in state_of_cloud(system)["servers"]}
    assert all(where[m["resource_id"]] == m["destination_node"] for m in moves)
    freed = {
        a["input_parameters"]["resource_name"]
        for a in actions
        if a["action_type"] == "change_nova_service_state"
        and a["input_parameters"]["state"] == "disabled"
    }
    assert freed
    assert all(hosts[name]["status"] == "disabled" for name in freed)
    assert not freed & set(where.values())
    indicators = {i["name"]: i["value"] for i in plan["efficacy_indicators"]}
    assert indicators["instance_migrations_count"] == len(moves)
    assert indicators["released_compute_nodes_count"] == len(freed)


def test_a_grpc_client_lists_the_same_audits_as_rest(rest, system):
    rest.post("/v1/audits", {"audit_type": "ONESHOT", "goal": "dummy", "strategy": "dummy"})
    with grpc.insecure_channel(f"127.0.0.1:{system.ports.gateway}") as channel:
        listed = audit_pb2_grpc.AuditServiceStub(channel).ListAudits(
            audit_pb2.ListAuditsRequest(), timeout=10
        )
    assert {a.uuid for a in listed.audits} == {a["uuid"] for a in rest.get("/v1/audits")["audits"]}


@pytest.mark.req("C-117")
def test_a_server_created_behind_our_back_is_streamed_within_three_seconds(system):
    command = [str(Path(sys.executable).parent / "trimtab"), "--address"]
    command += [f"127.0.0.1:{system.ports.gateway}", "model", "watch", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        try:
            assert "begin" in json.loads(watcher.stdout.readline())
            created = httpx.post(
                f"{system.fakecloud_url}/control/servers", json={"name": "behind-your-back"}
            )
            assert created.status_code < 300, created.text
            began = time.monotonic()
            for line in watcher.stdout:
                if "behind-your-back" in line:
                    break
            assert time.monotonic() - began < 3.0
        finally:
            watcher.terminate()


def test_decision_and_applier_are_not_reachable_from_outside(system):
    with grpc.insecure_channel(f"127.0.0.1:{system.ports.gateway}") as channel:
        for method in (
            "/trimtab.decision.v1.DecisionService/WakeAudit",
            "/trimtab.applier.v1.ApplierService/WakePlan",
        ):
            call = channel.unary_unary(method)
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_unmodified_triton_client_infers_through_the_gateway(system):
    script = (
        "import sys, numpy as np, tritonclient.grpc as t\n"
        "c = t.InferenceServerClient(sys.argv[1])\n"
        "x = t.InferInput('features', [1, 9], 'FP64')\n"
        "x.set_data_from_numpy(np.array([[90., 1, 1, 1, 1, 1, 1, 1, 1]]))\n"
        "print(c.infer('dummy_scorer', [x]).as_numpy('scores').tolist())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, f"127.0.0.1:{system.ports.gateway}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [[1, 0, 100, 0, 0]]
