"""Plans that are undone, through all services: by request, and because they failed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import httpx
import pytest
from test_main_job import ENDED, plan_of, run_audit, run_plan, state_of_cloud

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.rest import RestClient, RestError
from trimtab_cli.system import running

HOSTS, SERVERS = 6, 18


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A cloud of its own, whose plans undo themselves when they fail."""
    spec = SystemSpec(
        state_dir=Path(tmp_path_factory.mktemp("rollback")),
        ports=ports.free_row(),
        fakecloud_args=(
            *("--hosts", str(HOSTS), "--servers", str(SERVERS), "--seed", "7"),
            *("--migration-seconds", "0.5"),
        ),
        extra_config="[watcher_applier]\nrollback_when_actionplan_failed = true\n",
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


@pytest.fixture
def rest(site):
    client = RestClient(site.url)
    yield client
    client.close()


@pytest.fixture
def applier_armed(site):
    """Starts applier anew with a failpoint; gives what waits for its death and starts it again."""
    applier = site.child("applier")

    def restart():
        if applier.pid:
            os.kill(applier.pid, signal.SIGKILL)
        applier.process.wait(10)
        applier.start()
        site._await_grpc("applier")

    def arm(order):
        if order is None:
            return lambda: None
        environment = applier.environment
        applier.environment = {**environment, "TRIMTAB_FAILPOINTS": order}
        restart()
        applier.environment = environment

        def dies():
            assert applier.process.wait(90) == -signal.SIGKILL
            restart()

        return dies

    return arm


def homes(site):
    return {s["uuid"]: s["host"] for s in state_of_cloud(site)["servers"]}


def host(site, name):
    return next(h for h in state_of_cloud(site)["hosts"] if h["hostname"] == name)


def fullest(site):
    """The open host with the most servers."""
    count = Counter(homes(site).values())
    hosts = [h["hostname"] for h in state_of_cloud(site)["hosts"] if h["status"] == "enabled"]
    return max(hosts, key=lambda name: count[name])


def accepted(site):
    """Moves that Nova accepted, by server."""
    rows = httpx.get(f"{site.fakecloud_url}/control/ledger").json()["entries"]
    return Counter(
        row["path"].split("/")[-2]
        for row in rows
        if row["path"].endswith("/action")
        and row["status"] < 400
        and {"os-migrateLive", "migrate"} & set(row["body"] or {})
    )


def maintenance(rest, node):
    audit = run_audit(
        rest,
        goal="cluster_maintaining",
        strategy="host_maintenance",
        parameters={"maintenance_node": node},
    )
    assert audit["state"] == "SUCCEEDED", audit["status_message"]
    return plan_of(rest, audit)


def actions_of(rest, plan):
    return rest.get(f"/v1/actions/detail?action_plan_uuid={plan['uuid']}")["actions"]


def resource(action):
    return action["input_parameters"]["resource_id"]


def rolled_back(rest, plan, **body):
    answer = rest.post(f"/v1/action_plans/{plan['uuid']}/rollback", body)
    ended = rest.wait(
        f"/v1/action_plans/{answer['uuid']}", lambda p: p["state"] in ENDED, timeout_s=120
    )
    return answer, ended


@pytest.mark.req("A-076", "A-077", "A-078", "A-079", "B-303", "B-304")
def test_the_servers_of_a_host_in_maintenance_come_back_when_its_plan_is_rolled_back(rest, site):
    node, before = fullest(site), homes(site)
    plan = maintenance(rest, node)
    assert run_plan(rest, plan)["state"] == "SUCCEEDED"
    assert node not in homes(site).values()
    assert host(site, node)["status"] == "disabled"
    answer, ended = rolled_back(rest, plan)
    why = [(a["state"], a["status_message"]) for a in actions_of(rest, answer)]
    assert ended["state"] == "SUCCEEDED", why
    assert homes(site) == before
    assert host(site, node)["status"] == "enabled"
    assert ended["status_message"] == f"Rolls back action plan {plan['uuid']}."
    assert answer["audit_uuid"] == plan["audit_uuid"]
    with pytest.raises(RestError, match="already rolled back"):
        rolled_back(rest, plan)


@pytest.mark.req("B-304", "B-301")
def test_what_changed_since_is_told_and_the_others_come_back(rest, site):
    node, before = fullest(site), homes(site)
    plan = maintenance(rest, node)
    assert run_plan(rest, plan)["state"] == "SUCCEEDED"
    gone, *others = [uuid for uuid, where in before.items() if where == node]
    httpx.delete(f"{site.fakecloud_url}/control/servers/{gone}").raise_for_status()
    answer, ended = rolled_back(rest, plan)
    assert ended["state"] == "SUCCEEDED"
    assert "One or more actions were skipped." in ended["status_message"]
    inverses = {resource(a): a for a in actions_of(rest, answer)}
    assert inverses[gone]["state"] == "SKIPPED"
    assert f"Instance {gone} not found" in inverses[gone]["status_message"]
    now = homes(site)
    assert {now[uuid] for uuid in others} == {node}


def fail_the_third_move(site):
    """Nova will refuse one request to move a server, after two that it accepts."""
    order = {"service": "compute", "method": "POST", "path_contains": "/action"}
    faults = {"requests": [{**order, "status": 403, "skip": 2, "remaining": 1}]}
    httpx.put(f"{site.fakecloud_url}/control/faults", json=faults).raise_for_status()


@pytest.mark.req("A-080", "B-300")
@pytest.mark.parametrize(
    "dies_at",
    [
        None,
        "applier.revert.started=crash@2",
        pytest.param("applier.revert.before=crash@2", marks=pytest.mark.robustness),
        pytest.param("applier.revert.worked=crash@2", marks=pytest.mark.robustness),
        pytest.param("applier.move.seen=crash@3", marks=pytest.mark.robustness),
    ],
)
def test_a_plan_that_fails_leaves_the_cloud_as_it_was_even_if_applier_is_killed(
    rest, site, applier_armed, dies_at
):
    node, before, moved = fullest(site), homes(site), accepted(site)
    plan = maintenance(rest, node)
    fail_the_third_move(site)
    dies = applier_armed(dies_at)
    rest.post(f"/v1/action_plans/{plan['uuid']}/start")
    dies()
    ended = rest.wait(
        f"/v1/action_plans/{plan['uuid']}", lambda p: p["state"] in ENDED, timeout_s=120
    )
    httpx.put(f"{site.fakecloud_url}/control/faults", json={"requests": []}).raise_for_status()
    actions = actions_of(rest, plan)
    why = [(a["state"], a["status_message"]) for a in actions]
    assert ended["state"] == "FAILED"
    done = [a for a in actions if a["state"] == "SUCCEEDED"]  # two, or more that were under way
    servers = [resource(a) for a in done if a["action_type"] == "migrate"]
    assert len(servers) > 1
    assert ended["status_message"].startswith(f"Rollback: {len(done)} reverted."), why
    assert len(done) == len(servers) + 1
    assert homes(site) == before
    assert host(site, node)["status"] == "enabled"
    assert accepted(site) - moved == dict.fromkeys(servers, 2)
    assert Counter(a["state"] for a in actions)["FAILED"] == 1
    with pytest.raises(RestError, match="already rolled back"):
        rolled_back(rest, plan)
