"""The main job on a real OpenStack, asked for with the unmodified `openstack optimize ...`."""

from __future__ import annotations

from uuid import uuid4

import pytest
from real_cloud import eventually

ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"}
JSON = ("-f", "json")


def ended(optimize, kind, uuid, limit_s):
    shown = eventually(
        lambda: (row := optimize(kind, "show", uuid, *JSON))["State"] in ENDED and row,
        f"{kind} {uuid} ends",
        limit_s,
    )
    assert shown["State"] == "SUCCEEDED", shown
    return shown


def test_the_goals_and_strategies_are_listed(optimize):
    goals = {row["Name"] for row in optimize("goal", "list", *JSON)}
    assert {"server_consolidation", "workload_balancing", "cluster_maintaining"} <= goals
    strategies = {row["Name"] for row in optimize("strategy", "list", *JSON)}
    assert {"vm_workload_consolidation", "workload_stabilization", "host_maintenance"} <= strategies


@pytest.mark.timeout(420)
def test_a_consolidation_empties_and_disables_hosts(optimize, uneven):
    name = f"consolidate-{uuid4().hex[:8]}"
    made = optimize("audittemplate", "create", name, "server_consolidation", *JSON)
    assert made["Name"] == name
    audit = optimize("audit", "create", "-a", name, "-t", "ONESHOT", *JSON)
    ended(optimize, "audit", audit["UUID"], 60)
    (plan,) = optimize("actionplan", "list", "--audit", audit["UUID"], *JSON)
    assert plan["State"] == "RECOMMENDED"
    actions = optimize("action", "list", "--action-plan", plan["UUID"], *JSON)
    assert {"migrate", "change_nova_service_state"} <= {row["Action"] for row in actions}
    optimize("actionplan", "start", plan["UUID"])
    ended(optimize, "actionplan", plan["UUID"], 300)
    services = uneven.services()
    freed = {h for h, s in services.items() if s["disabled_reason"] == "watcher_disabled"}
    assert freed
    servers = uneven.servers()
    assert not freed & {server.host for server in servers.values()}
    assert {server.status for server in servers.values()} == {"ACTIVE"}
    eventually(lambda: not uneven.disagreements(), "Nova and Placement agree", 30)
