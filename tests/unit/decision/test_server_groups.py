"""Server groups: no plan breaks one, and the verifier sees it when one would."""

import pytest
from cluster_builders import cloud, group, host, migrations, plan, run, server, uuid_of

from trimtab_decision.framework import PlannedAction, ProposedAction
from trimtab_decision.verifier import verify


def move(name, source, target):
    inputs = {
        "resource_id": uuid_of(name),
        "source_node": source,
        "destination_node": target,
        "migration_type": "live",
    }
    return ProposedAction(action_type="migrate", input_parameters=inputs)


def kinds(clouds, *steps):
    planned = [PlannedAction(index=i, action=a, parents=p) for i, (a, p) in enumerate(steps)]
    return [violation.kind.value for violation in verify(clouds[0], planned)]


def three(policy, *members, **fields):
    return cloud(
        [host("a"), host("b"), host("c")],
        [server("x", "a"), server("y", "b")],
        groups=[group("g", policy, *members, **fields)],
    )


@pytest.mark.req("B-057")
def test_the_verifier_sees_members_that_would_meet():
    clouds = three("anti-affinity", "x", "y")
    assert kinds(clouds, (move("x", "a", "b"), ())) == ["server_group"]
    assert kinds(clouds, (move("x", "a", "c"), ())) == []


@pytest.mark.req("B-057")
def test_a_member_may_take_the_place_of_one_that_left_before_but_not_at_the_same_time():
    clouds = three("anti-affinity", "x", "y")
    leave, come = move("y", "b", "c"), move("x", "a", "b")
    assert kinds(clouds, (leave, ()), (come, (0,))) == []
    assert kinds(clouds, (leave, ()), (come, ())) == ["server_group"]


@pytest.mark.req("B-057")
def test_a_group_may_allow_two_on_a_host_and_soft_groups_break_nothing():
    assert kinds(three("anti-affinity", "x", "y", max_per_host=2), (move("x", "a", "b"), ())) == []
    assert kinds(three("soft-anti-affinity", "x", "y"), (move("x", "a", "b"), ())) == []


@pytest.mark.req("B-057")
def test_a_member_of_an_affinity_group_may_only_join_the_others():
    clouds = three("affinity", "x", "y")
    assert kinds(clouds, (move("x", "a", "c"), ())) == ["server_group"]
    assert kinds(clouds, (move("x", "a", "b"), ())) == []


@pytest.mark.req("B-057", "B-059")
@pytest.mark.parametrize("policy", ["anti-affinity", "soft-anti-affinity"])
def test_consolidation_keeps_members_apart(policy):
    clouds = cloud(
        [host("a"), host("b"), host("c")],
        [server("x", "a"), server("y", "b", vcpus=4), server("z", "c", vcpus=4)],
        groups=[group("g", policy, "x", "y", "z")],
    )
    assert run("vm_workload_consolidation", clouds).actions == []
    assert run("basic", clouds).actions == []


@pytest.mark.req("B-057", "B-059")
def test_members_that_must_share_a_host_are_not_torn_apart():
    clouds = cloud(
        [host("a"), host("b")],
        [server("x", "a"), server("y", "a"), server("z", "b", vcpus=8)],
        groups=[group("g", "affinity", "x", "y")],
    )
    solution = run("vm_workload_consolidation", clouds)
    assert migrations(solution) == {"z": ("b", "a", "live")}
    assert verify(clouds[0], plan(solution)) == []
