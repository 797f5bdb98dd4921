"""host_maintenance: one node emptied, safely or not at all."""

import pytest
from cluster_builders import cloud, group, host, migrations, plan, run, server, switches, uuid_of

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import NotFound
from trimtab_decision.framework.errors import NoFeasiblePlan
from trimtab_decision.plugins import load_registry
from trimtab_decision.verifier import verify

STRATEGY = "host_maintenance"
ALL_STATES = [
    server("act", "m"),
    server("pau", "m", state=ServerState.PAUSED),
    server("sto", "m", state=ServerState.STOPPED),
    server("err", "m", state=ServerState.ERROR),
]


def maintain(clouds, **parameters):
    solution = run(STRATEGY, clouds, maintenance_node="m", **parameters)
    assert verify(clouds[0], plan(solution)) == []
    return solution


def test_the_worked_example_of_its_page():
    clouds = cloud(
        [host("m"), host("spare", enabled=False, reason="watcher_disabled"), host("o")],
        [server("x", "m"), server("y", "m", state=ServerState.STOPPED)],
    )
    solution = maintain(clouds, backup_node="spare")
    assert switches(solution) == {
        "spare": ("enabled", None),
        "m": ("disabled", "watcher_maintaining"),
    }
    assert migrations(solution) == {"x": ("m", "spare", "live"), "y": ("m", "spare", "cold")}


@pytest.mark.req("B-195")
@pytest.mark.parametrize("given", [{}, {"backup_node": "nowhere"}])
def test_unknown_nodes_fail_the_audit(given):
    clouds = cloud([host("m" if given else "other")], [])
    with pytest.raises(NotFound, match="could not be found"):
        maintain(clouds, **given)


@pytest.mark.req("B-196")
def test_an_empty_node_is_only_disabled_and_then_nothing():
    assert switches(maintain(cloud([host("m")], []))) == {"m": ("disabled", "watcher_maintaining")}
    again = cloud([host("m", enabled=False, reason="watcher_maintaining")], [])
    assert maintain(again).actions == []


@pytest.mark.req("B-197")
@pytest.mark.parametrize("small", [{"vcpus": 3}, {"memory": 8000}, {"disk": 39}])
def test_a_backup_without_room_in_any_dimension_is_not_used(small):
    clouds = cloud([host("m"), host("b", **small), host("o")], [server("x", "m"), server("y", "m")])
    solution = maintain(clouds, backup_node="b")
    assert {target for _, target, _ in migrations(solution).values()} == {None}
    assert "Nova chooses" in solution.messages[0]


@pytest.mark.req("B-041")
@pytest.mark.parametrize("bad", [{"enabled": False, "reason": "operator"}, {"up": False}])
def test_a_backup_that_others_disabled_or_that_is_down_is_not_used(bad):
    clouds = cloud([host("m"), host("b", **bad), host("o")], [server("x", "m")])
    solution = maintain(clouds, backup_node="b")
    assert "b" not in switches(solution)
    assert migrations(solution) == {"x": ("m", None, "live")}


def test_a_backup_outside_the_zone_of_a_pinned_server_is_not_used():
    clouds = cloud(
        [host("m", zone="z1"), host("b", zone="z2"), host("o", zone="z1")],
        [server("x", "m", zone="z1")],
    )
    assert migrations(maintain(clouds, backup_node="b")) == {"x": ("m", None, "live")}


@pytest.mark.req("B-198")
def test_without_backup_nova_chooses():
    clouds = cloud([host("m"), host("o")], [server("x", "m")])
    solution = maintain(clouds)
    assert "destination_node" not in solution.actions[-1].input_parameters


@pytest.mark.req("B-198")
def test_without_room_elsewhere_the_audit_fails_and_names_the_servers():
    clouds = cloud([host("m"), host("o", vcpus=3)], [server("x", "m"), server("y", "m")])
    with pytest.raises(NoFeasiblePlan, match="cannot hold the servers of m: no room for"):
        maintain(clouds)


@pytest.mark.req("B-199")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"act": "live", "pau": "live", "sto": "cold"}),
        ({"disable_live_migration": True}, {"act": "cold", "sto": "cold"}),
        ({"disable_cold_migration": True}, {"act": "live"}),
        ({"disable_live_migration": True, "disable_cold_migration": True}, {"act": "stop"}),
    ],
)
def test_the_switches_decide_what_happens_to_each_state(given, expected):
    solution = maintain(cloud([host("m"), host("o")], ALL_STATES), **given)
    found = {
        a.input_parameters["resource_name"]: a.input_parameters.get("migration_type", "stop")
        for a in solution.actions
        if a.action_type in {"migrate", "stop"}
    }
    assert found == expected
    assert any("err" in message for message in solution.messages)


@pytest.mark.req("B-039")
def test_an_excluded_server_stays_and_the_node_is_not_disabled():
    clouds = cloud([host("m"), host("o")], [server("x", "m", excluded=True), server("y", "m")])
    solution = maintain(clouds)
    assert switches(solution) == {}
    assert list(migrations(solution)) == ["y"]
    assert "not disabled" in solution.messages[0]


def test_servers_of_a_down_node_cannot_be_migrated():
    clouds = cloud([host("m", up=False), host("o")], [server("x", "m")])
    with pytest.raises(NoFeasiblePlan, match="is down"):
        maintain(clouds)


@pytest.mark.req("B-200", "B-217")
def test_plan_order_is_enable_disable_then_moves():
    clouds = cloud(
        [host("m"), host("b", enabled=False, reason="watcher_disabled")], [server("x", "m")]
    )
    steps = plan(maintain(clouds, backup_node="b"))
    assert [s.action.input_parameters["resource_name"] for s in steps] == ["b", "m", "x"]
    assert [s.parents for s in steps] == [(), (0,), (1,)]


@pytest.mark.req("B-059", "B-057")
@pytest.mark.parametrize("policy", ["anti-affinity", "affinity"])
def test_a_backup_that_would_break_a_server_group_is_not_used(policy):
    others = "b" if policy == "anti-affinity" else "m"
    clouds = cloud(
        [host("m"), host("b"), host("c")],
        [server("x", "m"), server("y", others)],
        groups=[group("g", policy, "x", "y")],
    )
    solution = run("host_maintenance", clouds, maintenance_node="m", backup_node="b")
    assert migrations(solution)["x"] == ("m", None, "live")
    assert any("server group or a filter" in message for message in solution.messages)


@pytest.mark.req("B-059")
def test_a_backup_that_a_filter_bars_is_not_used():
    clouds = cloud(
        [host("m"), host("b"), host("c")],
        [server("x", "m", hints={"different_host": [uuid_of("y")]}), server("y", "b")],
    )
    filters = load_registry(entry_points=False).filters_named(["DifferentHostFilter"])
    solution = run(
        "host_maintenance",
        clouds,
        context={"filters": filters},
        maintenance_node="m",
        backup_node="b",
    )
    assert migrations(solution)["x"][1] is None
