"""The strategies of Cinder's and Ironic's models, through all services: audit, plan, carried out."""

from __future__ import annotations

from pathlib import Path

import httpx
import openstack
import pytest
from test_main_job import plan_of, run_audit, run_plan, state_of_cloud

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.rest import RestClient
from trimtab_cli.system import running

FAST, OTHER_FAST, SLOW = "storage@fast#pool0", "storage@fast#pool1", "storage@slow#pool0"
LIMIT_PCT = 65.0


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A cloud of its own: most hosts free, volumes of two types. Audits have compute loaded."""
    spec = SystemSpec(
        state_dir=Path(tmp_path_factory.mktemp("storage")),
        ports=ports.free_row(),
        fakecloud_args=("--hosts", "6", "--servers", "2", "--seed", "7"),
        extra_config="[collector]\nelement_poll_interval = 0.3\nload = on_request",
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


@pytest.fixture
def rest(site):
    client = RestClient(site.url)
    yield client
    client.close()


def cinder(site):
    """The fake cloud's own SDK connection."""
    connection = openstack.connect(
        load_yaml_config=False,
        load_envvars=False,
        region_name="RegionOne",
        auth={
            "auth_url": f"{site.fakecloud_url}/identity/v3",
            "username": "admin",
            "password": "secret",
            "project_name": "admin",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
    )
    return connection.block_storage


def pools_of(site):
    return {volume["uuid"]: volume["pool"] for volume in state_of_cloud(site)["volumes"]}


def carried_out(rest, **audit):
    """Audit, plan, start: (plan, actions) with the plan SUCCEEDED."""
    made = run_audit(rest, **audit)
    assert made["state"] == "SUCCEEDED", made["status_message"]
    plan = plan_of(rest, made)
    ended = run_plan(rest, plan)
    actions = rest.get(f"/v1/actions/detail?action_plan_uuid={plan['uuid']}")["actions"]
    why = [(a["state"], a["status_message"]) for a in actions]
    assert ended["state"] == "SUCCEEDED", (ended["status_message"], why)
    return ended, actions


@pytest.mark.req("B-157", "B-153", "B-156", "C-079")
def test_a_full_pool_is_relieved(site, rest):
    volumes = cinder(site)
    for number in range(4):
        body = {"volume": {"name": f"big-{number}", "size": 400, "volume_type": "fast"}}
        assert volumes.post("/volumes", json=body).status_code == 202

    before = pools_of(site)
    full = [v for v in state_of_cloud(site)["volumes"] if v["pool"] == FAST]
    assert sum(v["size_gb"] for v in full) >= LIMIT_PCT / 100 * 2000
    for _ in range(20):  # until collector has read the new volumes
        audit = run_audit(
            rest,
            goal="workload_balancing",
            strategy="storage_capacity_balance",
            parameters={"volume_threshold": LIMIT_PCT},
        )
        assert audit["state"] == "SUCCEEDED", audit["status_message"]
        plan = plan_of(rest, audit)
        if plan["state"] == "RECOMMENDED":
            break
    ended = run_plan(rest, plan)
    actions = rest.get(f"/v1/actions/detail?action_plan_uuid={plan['uuid']}")["actions"]
    assert ended["state"] == "SUCCEEDED", [(a["state"], a["status_message"]) for a in actions]
    after = pools_of(site)
    moved = {a["input_parameters"]["resource_id"] for a in actions}
    assert {uuid for uuid in before if after[uuid] != before[uuid]} == moved
    left = [v["size_gb"] for v in state_of_cloud(site)["volumes"] if v["pool"] == FAST]
    assert sum(left) < LIMIT_PCT / 100 * 2000


@pytest.mark.req("B-187", "B-191", "B-254")
def test_a_pool_is_emptied_by_giving_its_volumes_another_type(site, rest):
    plan, actions = carried_out(
        rest,
        goal="hardware_maintenance",
        strategy="zone_migration",
        parameters={
            "storage_pools": [{"src_pool": SLOW, "dst_type": "fast"}],
            "parallel_total": 3,
            "parallel_per_pool": 3,
        },
    )
    assert [a["input_parameters"]["migration_type"] for a in actions] == ["retype"] * 3
    volumes = {v["uuid"]: v for v in state_of_cloud(site)["volumes"]}
    for action in actions:
        volume = volumes[action["input_parameters"]["resource_id"]]
        assert volume["type"] == "fast"
        assert volume["pool"] in (FAST, OTHER_FAST)
    indicators = {i["name"]: i["value"] for i in plan["efficacy_indicators"]}
    assert indicators["planned_volume_migrate_count"] == 3


@pytest.mark.req("B-180", "B-182", "B-239", "C-045")
def test_free_hosts_are_powered_off_and_hosts_with_servers_never(site, rest):
    _, actions = carried_out(rest, goal="saving_energy", strategy="saving_energy")
    assert actions
    assert {a["action_type"] for a in actions} == {"change_node_power_state"}
    hosts = state_of_cloud(site)["hosts"]
    off = {h["hostname"] for h in hosts if h["power_state"] == "off"}
    assert off == {a["input_parameters"]["resource_name"] for a in actions}
    assert all(not h["servers"] for h in hosts if h["hostname"] in off)
    free_on = [h for h in hosts if not h["servers"] and h["power_state"] == "on"]
    assert len(free_on) == 1


@pytest.mark.req("A-041")
@pytest.mark.parametrize("name", ["storage_capacity_balance", "saving_energy", "zone_migration"])
def test_the_state_of_a_strategy_shows_the_models_that_are_there(rest, name):
    rows = {row["type"]: row for row in rest.get(f"/v1/strategies/{name}/state")}
    models = {kind: state for entry in rows["CDM"]["state"] for kind, state in entry.items()}
    assert models == dict.fromkeys(
        ("compute_model", "storage_model", "baremetal_model"), "available"
    )
    assert not rows["CDM"]["comment"]


def test_the_cloud_saw_one_request_for_each_volume(site):
    """Nothing was asked twice."""
    rows = httpx.get(f"{site.fakecloud_url}/control/ledger").json()["entries"]
    paths = [
        (row["path"], str(row["body"]))
        for row in rows
        if row["service"] == "block-storage" and row["path"].endswith("/action")
    ]
    assert len(paths) == len(set(paths))
