"""EVENT audits that start by themselves, in the whole system: cloud, collector, decision."""

from __future__ import annotations

import time

import httpx
import pytest

LOOKS_S = 3.0


@pytest.fixture
def new_servers(system):
    """Makes servers out of the blue; they are gone after the test."""
    made = []

    def make(count):
        for number in range(count):
            body = {"name": f"new-{number}"}
            answer = httpx.post(f"{system.fakecloud_url}/control/servers", json=body)
            made.append(answer.raise_for_status().json()["uuid"])

    yield make
    for uuid in made:
        httpx.delete(f"{system.fakecloud_url}/control/servers/{uuid}")


@pytest.mark.req("A-075")
def test_new_servers_start_one_run_of_the_audit_that_waits_for_them(rest, new_servers):
    wanted = {"audit_type": "EVENT", "goal": "dummy", "strategy": "dummy"}
    audit = rest.post("/v1/audits", {**wanted, "parameters": {"trigger_on": ["instance_created"]}})
    other = rest.post(
        "/v1/audits", {**wanted, "parameters": {"trigger_on": ["compute_node_removed"]}}
    )
    time.sleep(LOOKS_S)  # what the next looks are compared with
    new_servers(3)
    rest.wait(f"/v1/audits/{audit['uuid']}", lambda a: a["state"] == "SUCCEEDED", timeout_s=60)
    plans = rest.get(f"/v1/action_plans?audit_uuid={audit['uuid']}")["action_plans"]
    assert len(plans) == 1
    assert rest.get(f"/v1/audits/{other['uuid']}")["state"] == "PENDING"
