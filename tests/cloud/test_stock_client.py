"""The main job on a real OpenStack, asked for with the unmodified `openstack optimize ...`."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from real_cloud import eventually

ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"}
JSON = ("-f", "json")


def ended(optimize, kind, uuid, limit_s):
    """What is shown of an audit or plan once it SUCCEEDED."""
    shown = eventually(
        lambda: (row := optimize(kind, "show", uuid, *JSON))["State"] in ENDED and row,
        f"{kind} {uuid} ends",
        limit_s,
    )
    assert shown["State"] == "SUCCEEDED", shown
    return shown


def recommended(optimize, *how):
    """The plan of a new audit, and its actions in detail."""
    audit = optimize("audit", "create", "-t", "ONESHOT", *how, *JSON)
    ended(optimize, "audit", audit["UUID"], 60)
    (plan,) = optimize("actionplan", "list", "--audit", audit["UUID"], "--detail", *JSON)
    assert plan["State"] == "RECOMMENDED"
    actions = optimize("action", "list", "--action-plan", plan["UUID"], "--detail", *JSON)
    assert actions
    return plan, actions


def carried_out(optimize, plan):
    optimize("actionplan", "start", plan["UUID"])
    ended(optimize, "actionplan", plan["UUID"], 300)


def promised(plan):
    """The plan's efficacy indicators by name."""
    given = plan["Efficacy indicators"]
    rows = json.loads(given) if isinstance(given, str) else given
    return {row["name"]: row["value"] for row in rows}


def moves(actions):
    given = [row["Parameters"] for row in actions if row["Action"] == "migrate"]
    return [json.loads(one) if isinstance(one, str) else one for one in given]


def assert_healthy(cloud):
    servers = cloud.servers().values()
    assert not [server.name for server in servers if server.status == "ERROR"]
    cloud.await_agreement()


def disabled(cloud, reason):
    return {h for h, s in cloud.services().items() if s["disabled_reason"] == reason}


def test_the_goals_and_strategies_are_listed(optimize):
    goals = {row["Name"] for row in optimize("goal", "list", *JSON)}
    assert {"server_consolidation", "workload_balancing", "cluster_maintaining"} <= goals
    strategies = {row["Name"] for row in optimize("strategy", "list", *JSON)}
    assert {"vm_workload_consolidation", "workload_stabilization", "host_maintenance"} <= strategies


@pytest.mark.timeout(420)
def test_a_consolidation_empties_as_many_hosts_as_it_promised(optimize, uneven):
    name = f"consolidate-{uuid4().hex[:8]}"
    made = optimize("audittemplate", "create", name, "server_consolidation", *JSON)
    assert made["Name"] == name
    plan, actions = recommended(optimize, "-a", name)
    before = uneven.servers()
    carried_out(optimize, plan)
    freed = disabled(uneven, "watcher_disabled")
    after = uneven.servers()
    assert freed
    assert not freed & {server.host for server in after.values()}
    moved = {uuid for uuid in before if uuid in after and after[uuid].host != before[uuid].host}
    assert moved == {move["resource_id"] for move in moves(actions)}
    assert promised(plan)["released_compute_nodes_count"] == len(freed)
    assert promised(plan)["instance_migrations_count"] == len(moved)
    assert_healthy(uneven)


def test_host_maintenance_empties_and_disables_the_host(optimize, uneven):
    crowd = {}
    for server in uneven.servers().values():
        crowd[server.host] = crowd.get(server.host, 0) + 1
    host = min(crowd, key=crowd.get)
    plan, actions = recommended(
        optimize,
        *("-g", "cluster_maintaining", "-s", "host_maintenance"),
        *("-p", f"maintenance_node={host}"),
    )
    assert len(moves(actions)) == crowd[host]
    carried_out(optimize, plan)
    assert disabled(uneven, "watcher_maintaining") == {host}
    assert not uneven.servers_on(host)
    assert_healthy(uneven)


def test_workload_stabilization_moves_load_to_where_there_is_less(optimize, uneven):
    plan, actions = recommended(
        optimize,
        *("-g", "workload_balancing", "-s", "workload_stabilization"),
        *("-p", 'thresholds={"instance_cpu_usage": 0.01, "instance_ram_usage": 0.01}'),
    )
    assert moves(actions)
    carried_out(optimize, plan)
    where = {uuid: server.host for uuid, server in uneven.servers().items()}
    wanted = {move["resource_id"]: move["destination_node"] for move in moves(actions)}
    assert {uuid: where[uuid] for uuid in wanted} == wanted
    assert promised(plan)["instance_migrations_count"] == len(wanted)
    assert_healthy(uneven)
