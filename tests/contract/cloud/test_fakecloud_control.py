"""What only the fake has: its ledger, its faults, its shortcuts."""

import httpx
import pytest


@pytest.fixture
def control(cloud):
    with httpx.Client(base_url=f"{cloud.base_url}/control") as client:
        yield client


def migrate(conn, server):
    body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    return conn.compute.post(f"/servers/{server.id}/action", json=body)


def test_the_ledger_tells_each_write_and_the_life_of_each_migration(
    conn, active, control, eventually
):
    sent = migrate(conn, active)
    eventually(lambda: conn.compute.get_server(active.id).task_state is None)
    ledger = control.get("/ledger").json()
    entry = ledger["entries"][-1]
    assert entry["request_id"] == sent.headers["x-openstack-request-id"]
    assert (entry["method"], entry["status"], entry["user"]) == ("POST", 202, "admin")
    assert entry["body"]["os-migrateLive"]["host"] is None
    life = ledger["migrations"][0]
    assert life["server_uuid"] == active.id
    statuses = [step["status"] for step in life["history"]]
    assert statuses == ["accepted", "queued", "preparing", "running", "completed"]
    assert life["request_id"] == entry["request_id"]


def test_the_ledger_keeps_refusals_with_their_reason_and_no_reads(conn, active, control):
    before = len(control.get("/ledger").json()["entries"])
    list(conn.compute.servers(all_projects=True))
    conn.compute.post(f"/servers/{active.id}/action", json={"os-start": None})
    entries = control.get("/ledger").json()["entries"]
    assert len(entries) == before + 1
    assert entries[-1]["status"] == 409
    assert "vm_state active" in entries[-1]["error"]


def test_every_live_migration_fails_when_that_is_ordered(conn, active, control, eventually):
    assert control.put("/faults", json={"fail_ratio": 1.0}).status_code == 200
    migrate(conn, active)
    eventually(lambda: conn.compute.get_server(active.id).task_state is None)
    assert conn.compute.get_server(active.id).compute_host == active.compute_host
    assert control.get("/ledger").json()["migrations"][0]["status"] == "failed"


def test_a_status_is_given_as_often_as_it_is_ordered(conn, control):
    order = {"service": "compute", "path_contains": "flavors", "status": 500, "remaining": 2}
    control.put("/faults", json={"requests": [{**order, "skip": 1}]})
    answers = [conn.compute.get("/flavors", retriable_status_codes=[]) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 500, 500, 200]
    assert answers[1].json()["computeFault"]["code"] == 500


def test_latency_is_added_on_order(cloud, control):
    control.put("/faults", json={"requests": [{"service": "identity", "latency_s": 0.2}]})
    assert httpx.get(f"{cloud.base_url}/identity/v3").elapsed.total_seconds() >= 0.2


@pytest.mark.parametrize(
    "order",
    [
        {"colour": "red"},
        {"fail_ratio": "often"},
        {"fail_ratio": -1},
        {"requests": [{"service": "nowhere"}]},
        {"requests": [{"colour": "red"}]},
        {"requests": 7},
        {"migration_s": 9, "fail_ratio": "often"},
    ],
)
def test_an_order_that_makes_no_sense_is_refused(control, order):
    before = control.get("/faults").json()
    assert control.put("/faults", json=order).status_code == 400
    assert control.get("/faults").json() == before


def test_a_server_made_by_control_runs_where_it_was_asked_for(conn, control, eventually):
    made = control.post(
        "/servers", json={"name": "new", "host": "compute-2", "flavor": "m1.tiny", "cpu_pct": 50}
    ).json()
    eventually(lambda: conn.compute.get_server(made["uuid"]).status == "ACTIVE")
    assert conn.compute.get_server(made["uuid"]).compute_host == "compute-2"
    control.delete(f"/servers/{made['uuid']}")
    assert conn.compute.get(f"/servers/{made['uuid']}").status_code == 404


def test_the_state_adds_up(control):
    state = control.get("/state").json()
    where = {s["uuid"]: s["host"] for s in state["servers"]}
    assert len(where) == 24
    for host in state["hosts"]:
        assert {uuid for uuid, at in where.items() if at == host["hostname"]} == set(
            host["servers"]
        )
        memory = host["inventories"]["MEMORY_MB"]
        mine = [s["memory_mib"] for s in state["servers"] if s["host"] == host["hostname"]]
        assert memory["used"] == sum(mine) <= memory["capacity"]


def test_a_dead_host_is_down_and_its_servers_stay(conn, active, control):
    control.put(f"/hosts/{active.compute_host}", json={"up": False})
    service = next(conn.compute.services(host=active.compute_host, binary="nova-compute"))
    assert service.state == "down"
    migrate(conn, active)
    shown = conn.compute.get_server(active.id)
    assert (shown.compute_host, shown.task_state) == (active.compute_host, None)
    answer = conn.compute.post(f"/servers/{active.id}/action", json={"migrate": None})
    assert answer.status_code == 409
