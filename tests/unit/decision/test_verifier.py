"""The verifier: every rule is broken once, and clean plans pass."""

import pytest
from cluster_builders import cloud, host, server, uuid_of

from trimtab_common.domain.compute_terms import ServerState
from trimtab_decision.framework import PlannedAction, ProposedAction
from trimtab_decision.verifier import verify


def move(name, source, target, kind="live"):
    inputs = {"resource_id": uuid_of(name), "source_node": source, "migration_type": kind}
    if target is not None:
        inputs["destination_node"] = target
    return ProposedAction(action_type="migrate", input_parameters=inputs)


def switch(name, state):
    return ProposedAction(
        action_type="change_nova_service_state",
        input_parameters={"resource_name": name, "state": state},
    )


def graph(*steps):
    """graph((action, parents), ...)"""
    return [PlannedAction(index=i, action=a, parents=p) for i, (a, p) in enumerate(steps)]


def kinds(clouds, *steps):
    return [violation.kind.value for violation in verify(clouds[0], graph(*steps))]


def pair(**target):
    return cloud([host("a"), host("b", **target)], [server("x", "a"), server("y", "a")])


def test_a_clean_plan_has_no_violation():
    assert kinds(pair(), (move("x", "a", "b"), ()), (move("y", "a", "b"), (0,))) == []


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"up": False}, "down_target"),
        ({"enabled": False, "reason": "operator"}, "disabled_target"),
        ({"enabled": False, "reason": "watcher_disabled"}, "disabled_target"),
        ({"vcpus": 1}, "over_capacity"),
        ({"memory": 1}, "over_capacity"),
        ({"disk": 1}, "over_capacity"),
    ],
)
def test_bad_targets_are_found(target, expected):
    assert kinds(pair(**target), (move("x", "a", "b"), ())) == [expected]


def test_a_target_of_ours_may_be_enabled_first():
    clouds = pair(enabled=False, reason="watcher_disabled")
    assert kinds(clouds, (switch("b", "enabled"), ()), (move("x", "a", "b"), (0,))) == []
    unordered = kinds(clouds, (switch("b", "enabled"), ()), (move("x", "a", "b"), ()))
    assert unordered == ["disabled_target"]


@pytest.mark.req("B-041")
def test_a_host_disabled_by_others_may_not_be_enabled():
    clouds = pair(enabled=False, reason="operator")
    found = kinds(clouds, (switch("b", "enabled"), ()), (move("x", "a", "b"), (0,)))
    assert found == ["enables_host_disabled_by_others"]


def test_a_target_that_the_plan_disables_is_found():
    assert kinds(pair(), (switch("b", "disabled"), ()), (move("x", "a", "b"), (0,))) == [
        "disabled_target"
    ]


def test_servers_that_must_not_move_are_found():
    clouds = cloud(
        [host("a"), host("b")],
        [server("x", "a", excluded=True), server("y", "a", state=ServerState.STOPPED)],
    )
    assert kinds(clouds, (move("x", "a", "b"), ()), (move("y", "a", "b"), ())) == [
        "excluded_server",
        "wrong_state",
    ]
    assert kinds(clouds, (move("y", "a", "b", "cold"), ())) == []


def test_an_excluded_server_may_not_be_stopped():
    clouds = cloud([host("a")], [server("x", "a", excluded=True)])
    stop = ProposedAction(action_type="stop", input_parameters={"resource_id": uuid_of("x")})
    assert kinds(clouds, (stop, ())) == ["excluded_server"]


def test_a_server_moved_twice_is_found():
    clouds = cloud([host("a"), host("b"), host("c")], [server("x", "a")])
    assert "moved_twice" in kinds(clouds, (move("x", "a", "b"), ()), (move("x", "b", "c"), (0,)))


def test_a_source_is_released_only_when_its_move_has_ended():
    clouds = cloud(
        [host("a", vcpus=4), host("b", vcpus=4), host("c", vcpus=4)],
        [server("x", "a", vcpus=4), server("y", "b", vcpus=4)],
    )
    first, second = move("x", "a", "c"), move("y", "b", "a")
    assert kinds(clouds, (first, ()), (second, ())) == ["over_capacity"]
    assert kinds(clouds, (first, ()), (second, (0,))) == []


def test_a_graph_without_layers_is_judged_by_what_may_run_together():
    clouds = cloud(
        [host("a", vcpus=4), host("b", vcpus=4), host("c", vcpus=8), host("d")],
        [server("x", "a", vcpus=4), server("y", "b", vcpus=4), server("z", "c", vcpus=1)],
    )
    x, y, z = move("x", "a", "c"), move("y", "b", "a"), move("z", "c", "d")
    assert kinds(clouds, (z, ()), (x, ()), (y, (1,))) == []
    assert kinds(clouds, (x, ()), (z, ()), (y, (1,))) == ["over_capacity"]


def test_only_what_the_plan_worsens_counts():
    clouds = cloud(
        [host("a", vcpus=1), host("b")], [server("x", "a", vcpus=4), server("y", "a", vcpus=4)]
    )
    assert kinds(clouds, (move("x", "a", "b"), ())) == []


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (move("x", "b", "a"), "wrong_source"),
        (move("x", "a", "nowhere"), "unknown_element"),
        (move("x", "a", "a"), "unknown_element"),
        (move("nobody", "a", "b"), "unknown_element"),
        (switch("nowhere", "enabled"), "unknown_element"),
    ],
)
def test_names_that_do_not_match_the_snapshot_are_found(action, expected):
    assert kinds(pair(), (action, ())) == [expected]


def test_a_down_source_and_a_wrong_zone_are_found():
    clouds = cloud(
        [host("a", up=False, zone="z1"), host("b", zone="z2")], [server("x", "a", zone="z1")]
    )
    assert set(kinds(clouds, (move("x", "a", "b"), ()))) == {"down_source", "wrong_zone"}


def test_a_parent_after_its_child_is_a_broken_graph():
    assert kinds(pair(), (move("x", "a", "b"), (1,)), (move("y", "a", "b"), ())) == ["broken_graph"]


def test_where_nova_chooses_there_is_no_target_to_check():
    assert kinds(pair(vcpus=1), (move("x", "a", None), ())) == []
