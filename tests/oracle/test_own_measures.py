"""The comparison with Watcher's plans: what is measured, what is a violation, and who is better."""

import pytest
from cluster_builders import cloud, host, plan, run, server
from own_measures import Question, checked, measure_of, verdict, watchers_plan

from trimtab_decision.plugins import load_registry

REGISTRY = load_registry(entry_points=False)
CLOUDS = cloud(
    [host("a"), host("b"), host("c", enabled=False, reason="operator")],
    [server("x", "a"), server("y", "b"), server("z", "b")],
)


def migration(name, source, target):
    inputs = {"migration_type": "live", "source_node": source, "destination_node": target}
    inputs |= {"resource_id": server(name, None).uuid, "resource_name": name}
    return {"action_type": "migrate", "input_parameters": inputs}


def watchers(*actions, strategy="vm_workload_consolidation"):
    """(its own measure, its violations)."""
    planned, violations = watchers_plan(CLOUDS[0], actions, REGISTRY, strategy)
    given = checked(REGISTRY, strategy, {})
    question = Question(strategy=strategy, cloud=(*CLOUDS, None), given=given)
    return measure_of(strategy, {}).of(question, planned), violations


def test_a_plan_of_watchers_is_measured_like_ours():
    solution = run("vm_workload_consolidation", CLOUDS)
    given = checked(REGISTRY, "vm_workload_consolidation", {})
    question = Question(strategy="vm_workload_consolidation", cloud=(*CLOUDS, None), given=given)
    ours = measure_of("vm_workload_consolidation", {}).of(question, plan(solution))
    theirs, violations = watchers(migration("x", "a", "b"))
    assert ours == theirs == (0.0, 1)
    assert not violations
    assert verdict(ours, theirs, 0) == "equal"
    assert verdict(ours, watchers()[0], 0) == "better"
    assert verdict(watchers()[0], theirs, 0) == "worse"


def test_hosts_are_known_by_uuid_too():
    uuids = dict(zip(CLOUDS[0].host_name, CLOUDS[0].host_uuid, strict=True))
    assert watchers(migration("x", uuids["a"], uuids["b"])) == ((0.0, 1), {})


@pytest.mark.parametrize(
    ("actions", "kind"),
    [
        ([migration("x", "a", "c")], "disabled_target"),
        ([migration("x", "b", "a")], "wrong_source"),
        ([migration("x", "a", "b"), migration("x", "b", "a")], "moved_twice"),
    ],
)
def test_a_plan_that_breaks_a_rule_is_no_yardstick(actions, kind):
    theirs, violations = watchers(*actions)
    assert violations[kind] == 1
    assert verdict((0.0, 2), theirs, sum(violations.values())) == "unclean"


def test_a_deviation_below_its_threshold_is_good_enough_and_then_moves_count():
    theirs = watchers(migration("x", "a", "b"), strategy="workload_stabilization")[0]
    assert theirs == (0.0, 1.0)
    assert verdict((0.0, 0.0), theirs, 0) == "better"
    assert verdict((0.01, 0.0), theirs, 0) == "worse"
