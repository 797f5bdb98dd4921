"""The planner `critical_path`: true dependencies, limits, cycles, and a forecast that holds."""

import dataclasses
import random

import numpy as np
import pytest
from cluster_builders import cloud, group, host, server, uuid_of

from trimtab_decision.framework import PlannedAction, ProposedAction
from trimtab_decision.framework.errors import PlannerMisconfigured, PlanStuck
from trimtab_decision.planners import action_links
from trimtab_decision.planners.critical_path import CriticalPathPlanner
from trimtab_decision.planners.move_schedule import (
    NOWHERE,
    Limits,
    Move,
    best_schedule,
    lower_bound,
)
from trimtab_decision.verifier import ViolationKind, verify


def move(name, source, target, memory=4096):
    inputs = {"migration_type": "live", "source_node": source, "resource_id": uuid_of(name)}
    if target:
        inputs["destination_node"] = target
    inputs["resource_name"] = name
    return ProposedAction(
        action_type="migrate", input_parameters=inputs, facts={"memory_mib": memory}
    )


def act(kind, name, **inputs):
    return ProposedAction(
        action_type=kind, input_parameters={"resource_id": name, "resource_name": name, **inputs}
    )


def parents_by_name(planned):
    names = [step.action.input_parameters["resource_name"] for step in planned]
    return {names[s.index]: {names[p] for p in s.parents} for s in planned}


def any_run(snapshot, planned, rng, watch):
    """Carries the graph out with durations that nobody foresaw; `watch` sees every state."""
    used = snapshot.used().astype(float)
    capacity = snapshot.capacity()
    place = {snapshot.uuid_of(i): i for i in range(snapshot.n_servers)}
    index = {name: i for i, name in enumerate(snapshot.host_name)}
    ended, running, waiting = set(), [], list(planned)
    while waiting or running:
        ready = [s for s in waiting if ended.issuperset(s.parents)]
        if ready and (not running or rng.random() < 0.7):
            step = rng.choice(ready)
            waiting.remove(step)
            running.append(step)
            inputs = step.action.input_parameters
            if step.action.action_type == "migrate":
                used[index[inputs["destination_node"]]] += snapshot.server_demand[
                    place[inputs["resource_id"]]
                ]
        else:
            step = running.pop(rng.randrange(len(running)))
            ended.add(step.index)
            inputs = step.action.input_parameters
            if step.action.action_type == "migrate":
                used[index[inputs["source_node"]]] -= snapshot.server_demand[
                    place[inputs["resource_id"]]
                ]
        watch(used, capacity, running)


def full_cloud(rng, *, n_hosts=6, spare=2):
    """Hosts of 8 vCPUs, nearly full, and a permutation of servers that may hold cycles."""
    hosts = [host(f"h{i}", vcpus=8, memory=8 * 1024, disk=400) for i in range(n_hosts)]
    servers, slots = [], []
    for i in range(n_hosts):
        left = 8 - (spare if i == 0 else rng.randrange(0, 2))
        while left > 0:
            size = rng.choice([1, 1, 2])
            size = min(size, left)
            name = f"s{len(servers)}"
            servers.append(server(name, f"h{i}", vcpus=size, memory=size * 1024, disk=1))
            slots.append((name, i, size))
            left -= size
    used = [sum(s for _, at, s in slots if at == i) for i in range(n_hosts)]
    moves, after = [], list(used)
    for name, at, size in rng.sample(slots, len(slots)):
        target = rng.randrange(n_hosts)
        if target != at:
            moves.append((name, at, target, size))
            after[at] -= size
            after[target] += size
    while max(after) > 8:  # too many go there: some stay
        name, at, target, size = moves.pop()
        after[at] += size
        after[target] -= size
    return cloud(hosts, servers)[0], [move(n, f"h{a}", f"h{t}", s * 1024) for n, a, t, s in moves]


@pytest.mark.req("B-221")
@pytest.mark.parametrize("seed", range(40))
def test_whatever_takes_how_long_no_host_is_ever_over_full(seed):
    rng = random.Random(seed)
    snapshot, actions = full_cloud(rng)
    options = {"migrations_per_source": 2, "migrations_per_destination": 2, "migrations": 5}
    planner = CriticalPathPlanner.from_options(options)
    try:
        planned = planner.plan_on(snapshot, actions)
    except PlanStuck:
        assert seed not in range(5), "these have room for a detour"
        return
    assert verify(snapshot, planned) == []

    def watch(used, capacity, running):
        assert (used <= capacity + 1e-6).all()
        sources = [s.action.input_parameters["source_node"] for s in running]
        targets = [s.action.input_parameters["destination_node"] for s in running]
        assert len(running) <= 5
        assert max([sources.count(h) for h in sources], default=0) <= 2
        assert max([targets.count(h) for h in targets], default=0) <= 2

    for _ in range(30):
        any_run(snapshot, planned, rng, watch)
    ends = {s.action.input_parameters["resource_id"]: s.action for s in planned}
    for action in actions:
        last = ends[action.input_parameters["resource_id"]]
        wanted = action.input_parameters["destination_node"]
        assert last.input_parameters["destination_node"] == wanted


@pytest.mark.parametrize("seed", range(25))
def test_the_verifier_finds_what_some_run_of_a_worse_graph_can_break(seed):
    rng = random.Random(seed)
    snapshot, actions = full_cloud(rng)
    try:
        planned = list(CriticalPathPlanner().plan_on(snapshot, actions))
    except PlanStuck:
        return
    linked = [s.index for s in planned if s.parents]
    for place in rng.sample(linked, min(2, len(linked))):
        kept = planned[place].parents[1:]
        planned[place] = dataclasses.replace(planned[place], parents=kept)
    broken = []

    def watch(used, capacity, _running):
        broken.append(bool((used > capacity + 1e-6).any()))

    for _ in range(300):
        any_run(snapshot, planned, rng, watch)
    over = [v for v in verify(snapshot, planned) if v.kind is ViolationKind.OVER_CAPACITY]
    if any(broken):
        assert over


def test_moves_of_different_hosts_do_not_wait_for_each_other():
    snapshot, _ = cloud(
        [host(name) for name in "abcd"], [server("s1", "a"), server("s2", "b"), server("s3", "a")]
    )
    moves = [move("s1", "a", "c"), move("s2", "b", "d"), move("s3", "a", "d")]
    planner = CriticalPathPlanner()
    found = parents_by_name(planner.plan_on(snapshot, moves))
    assert found == {"s1": set(), "s2": set(), "s3": {"s1", "s2"}}
    assert planner.forecast.makespan_s == planner.forecast.bound_s


def test_a_move_waits_for_just_those_that_leave_the_room_which_it_fills():
    small = {"vcpus": 4, "memory": 4096, "disk": 100}
    fields = {"vcpus": 2, "memory": 2048, "disk": 10}
    snapshot, _ = cloud(
        [host("a", **small), host("b", **small), host("c"), host("d")],
        [server(name, at, **fields) for name, at in (("s1", "a"), ("s2", "a"), ("s3", "b"))],
    )
    actions = [move("s3", "b", "a"), move("s1", "a", "c")]
    planned = CriticalPathPlanner().plan_on(snapshot, actions)
    assert parents_by_name(planned) == {"s1": set(), "s3": {"s1"}}
    assert verify(snapshot, planned) == []


def swapping(*, room):
    fields = {"vcpus": 4, "memory": 4096, "disk": 10}
    hosts = [host(name, vcpus=4, memory=4096, disk=100) for name in "ab"]
    hosts += [host("c", vcpus=4, memory=4096, disk=100)] if room else []
    snapshot, _ = cloud(hosts, [server("s1", "a", **fields), server("s2", "b", **fields)])
    return snapshot, [move("s1", "a", "b"), move("s2", "b", "a")]


def test_a_swap_is_broken_by_one_server_that_goes_out_of_the_way_once():
    snapshot, actions = swapping(room=True)
    planner = CriticalPathPlanner()
    planned = planner.plan_on(snapshot, actions)
    legs = [
        (s.action.input_parameters["source_node"], s.action.input_parameters["destination_node"])
        for s in planned
    ]
    assert sorted(legs) in (
        [("a", "c"), ("b", "a"), ("c", "b")],
        [("a", "b"), ("b", "c"), ("c", "a")],
    )
    assert planner.forecast.bypasses == 1
    assert verify(snapshot, planned) == []


def test_a_swap_without_any_room_is_reported_with_its_servers():
    snapshot, actions = swapping(room=False)
    with pytest.raises(PlanStuck, match="s1 a -> b; s2 b -> a"):
        CriticalPathPlanner().plan_on(snapshot, actions)


def test_the_verifier_still_refuses_a_server_that_moves_twice_for_nothing():
    snapshot, _ = swapping(room=True)
    there, back = move("s1", "a", "c"), move("s1", "c", "b")
    ends = [PlannedAction(index=0, action=there), PlannedAction(index=1, action=back)]
    kinds = {violation.kind for violation in verify(snapshot, ends)}
    assert ViolationKind.MOVED_TWICE in kinds  # the second leg does not wait for the first


@pytest.mark.req("B-217", "B-221")
def test_hosts_open_before_servers_come_and_machines_stop_after_they_have_left():
    snapshot, _ = cloud(
        [host("a"), host("b", enabled=False, reason="watcher_disabled")], [server("s1", "a")]
    )
    actions = [
        act("change_node_power_state", "a", state="off"),
        move("s1", "a", "b"),
        act("change_nova_service_state", "a", state="disabled"),
        act("change_nova_service_state", "b", state="enabled"),
        act("change_node_power_state", "b", state="on"),
    ]
    found = parents_by_name(CriticalPathPlanner().plan_on(snapshot, actions))
    assert found["s1"] >= {"a", "b"}
    order = [
        (s.action.action_type, s.action.input_parameters["resource_name"])
        for s in CriticalPathPlanner().plan_on(snapshot, actions)
    ]
    assert order.index(("change_node_power_state", "b")) < order.index(
        ("change_nova_service_state", "b")
    )
    assert order[-1] == ("change_node_power_state", "a")


@pytest.mark.req("B-190")
def test_a_volume_moves_before_the_server_that_has_it():
    snapshot, _ = cloud([host("a"), host("b")], [server("s1", "a"), server("s2", "a")])
    volume = ProposedAction(
        action_type="volume_migrate",
        input_parameters={"resource_id": "v", "resource_name": "v"},
        facts={"servers": [uuid_of("s1")]},
    )
    actions = [volume, move("s1", "a", "b"), move("s2", "a", "b")]
    options = {"migrations_per_source": 0, "migrations_per_destination": 0}
    found = parents_by_name(CriticalPathPlanner(**options).plan_on(snapshot, actions))
    assert found == {"v": set(), "s1": {"v"}, "s2": set()}


def test_a_sleep_parts_what_is_before_it_from_what_is_behind_it():
    snapshot, _ = cloud([host(n) for n in "abcd"], [server("s1", "a"), server("s2", "b")])
    sleep = ProposedAction(
        action_type="sleep", input_parameters={"duration": 1, "resource_name": "sleep"}
    )
    actions = [move("s2", "b", "c"), sleep, move("s1", "a", "c")]
    found = parents_by_name(CriticalPathPlanner().plan_on(snapshot, actions))
    assert found["sleep"] == {"s2"}
    assert "sleep" in found["s1"]


def test_a_server_of_a_group_waits_until_its_fellow_has_left():
    snapshot, _ = cloud(
        [host(n) for n in "abc"],
        [server("s1", "a"), server("s2", "b")],
        groups=[group("g", "anti-affinity", "s1", "s2")],
    )
    actions = [move("s1", "a", "b"), move("s2", "b", "c")]
    planned = CriticalPathPlanner(migrations_per_source=0).plan_on(snapshot, actions)
    assert parents_by_name(planned) == {"s2": set(), "s1": {"s2"}}
    assert verify(snapshot, planned) == []


def test_a_misspelt_option_is_named():
    with pytest.raises(PlannerMisconfigured, match="'migrations' must be an integer"):
        CriticalPathPlanner.from_options({"migrations": "many"})


@pytest.mark.parametrize(("limit", "ratio"), [(1, 1.05), (2, 1.10)])
def test_large_plans_end_close_to_their_bound(limit, ratio):
    rng = random.Random(5)
    room = np.full((400, 1), 40.0)
    moves = []
    while len(moves) < 1500:
        source, target = rng.sample(range(400), 2)
        size = rng.choice([1.0, 2.0, 4.0])
        moves.append(
            Move(
                server=len(moves),
                source=source,
                target=target,
                demand=(size,),
                duration_s=size,
            )
        )
    limits = Limits(out_of_host=limit, into_host=limit)
    found = best_schedule(moves, room, limits, lambda _move, _room: NOWHERE)
    assert not found.stuck
    assert found.makespan_s <= ratio * lower_bound(moves, limits)


def order_of(planned):
    """For each action, all that must have ended before it: by what it does."""
    found, names = [], []
    for step in planned:
        inputs = step.action.input_parameters
        names.append((step.action.action_type, inputs["resource_id"], inputs.get("state")))
        found.append(set(step.parents).union(*(found[parent] for parent in step.parents)))
    return {name: {names[i] for i in before} for name, before in zip(names, found, strict=True)}


@pytest.mark.req("B-217")
def test_many_hosts_are_closed_before_nova_chooses_with_few_parents(monkeypatch):
    def switch(name, state):
        inputs = {"resource_id": name, "resource_name": name, "state": state}
        return ProposedAction(action_type="change_nova_service_state", input_parameters=inputs)

    names = [f"h{i:03d}" for i in range(90)]
    moves = [
        ProposedAction(
            action_type="migrate",
            input_parameters={"resource_id": f"{name}-{i}", "source_node": name},
        )
        for name in names
        for i in range(5)
    ]
    actions = [
        *(switch(name, "disabled") for name in names),
        *moves,
        *(switch(name, "enabled") for name in names),
    ]
    few = CriticalPathPlanner().plan(actions)
    monkeypatch.setattr(action_links, "MOST_WAITED_FOR", 10**9)
    many = CriticalPathPlanner().plan(actions)
    exact, found = order_of(many), order_of(few)
    assert all(found[name] >= exact[name] for name in exact)
    spared = sum(len(step.parents) for step in many) - sum(len(step.parents) for step in few)
    assert spared > 0.9 * 2 * len(names) * len(moves)


def named(name, source, target, *after):
    """A move that knows its resource id, and says what it waits for."""
    return dataclasses.replace(
        move(name, source, target),
        resource_id=uuid_of(name),
        after=tuple(uuid_of(other) for other in after),
    )


def test_what_moves_say_is_taken_where_the_own_way_needs_a_bypass():
    """`last` comes first to h while `opens` waits for the slot of its host: then one must go out of the way."""
    snapshot, _ = cloud(
        [host("h", vcpus=3), host("y", vcpus=2), host("x", vcpus=1), host("z", vcpus=1)],
        [
            server("swaps", "h", vcpus=2),
            server("slot", "y", vcpus=1),
            server("opens", "y", vcpus=1),
            server("last", "x", vcpus=1),
        ],
    )
    moves = [named("slot", "y", "z"), named("opens", "y", "h"), named("swaps", "h", "y")]

    planner = CriticalPathPlanner()
    planner.plan_on(snapshot, [*moves, named("last", "x", "h")])
    assert planner.forecast.bypasses == 1
    planned = planner.plan_on(snapshot, [*moves, named("last", "x", "h", "swaps")])
    assert planner.forecast.bypasses == 0
    assert verify(snapshot, planned) == []


def test_a_move_behind_one_of_other_hosts_starts_when_that_has_ended():
    """Without this no end of its own hosts would ever wake it."""
    sleep = ProposedAction(action_type="sleep", input_parameters={"duration": 1})
    clouds = cloud([host(name) for name in "abcd"], [server("x", "a"), server("y", "c")])
    actions = [move("x", "a", "b"), sleep, move("y", "c", "d")]
    assert verify(clouds[0], CriticalPathPlanner().plan_on(clouds[0], actions)) == []
