"""A service that is down: REST says 503 and what to do, the record is intact, recovery needs no hand."""

from __future__ import annotations

import json
import os
import signal
import time

import httpx
import pytest


@pytest.fixture
def paused(system):
    """Ends one service for the length of a test and starts it again."""
    ended = []

    def end(name: str) -> None:
        child = system.child(name)
        os.kill(child.pid, signal.SIGKILL)
        child.process.wait(10)
        ended.append(child)

    yield end
    for child in ended:
        if not child.pid:
            child.start()
        system._await_grpc(child.name)


def eventually(check, limit_s=15.0):
    deadline = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.mark.req("A-013")
def test_rest_says_503_while_api_is_down_and_works_again_after(system, paused, rest):
    before = rest.get("/v1/audits")
    paused("api")
    response = httpx.get(f"{system.url}/v1/audits")
    assert response.status_code == 503
    assert "Try again" in json.loads(response.json()["error_message"])["faultstring"]
    system.child("api").start()
    system._await_grpc("api")
    eventually(lambda: httpx.get(f"{system.url}/v1/audits").status_code == 200)
    assert rest.get("/v1/audits") == before


@pytest.mark.req("A-039", "B-006")
def test_an_audit_posted_while_decision_is_down_runs_when_it_is_back(system, paused, rest):
    before = rest.get("/v1/goals"), rest.get("/v1/strategies?goal=dummy")
    paused("decision")
    assert (rest.get("/v1/goals"), rest.get("/v1/strategies?goal=dummy")) == before
    assert len(before[1]["strategies"]) == 3  # listed by the record, whoever is away
    audit = rest.post("/v1/audits", {"audit_type": "ONESHOT", "goal": "dummy", "strategy": "dummy"})
    assert audit["state"] == "PENDING"
    system.child("decision").start()
    rest.wait(f"/v1/audits/{audit['uuid']}", lambda a: a["state"] == "SUCCEEDED", timeout_s=30)


def test_the_data_model_says_503_while_collector_is_down(system, paused):
    paused("collector")
    response = httpx.get(
        f"{system.url}/v1/data_model", headers={"OpenStack-API-Version": "infra-optim latest"}
    )
    assert response.status_code == 503
    assert json.loads(response.json()["error_message"])["faultcode"] == "Server"
