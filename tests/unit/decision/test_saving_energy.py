"""saving_energy: how many free machines are on, off, or become so."""

import pytest
from cluster_builders import cloud, host, run, server, uuid_of

from trimtab_common.domain.baremetal import BaremetalNodeRow, PowerState, baremetal_model
from trimtab_common.domain.elements import Upsert
from trimtab_decision.framework.errors import ClusterStateNotDefined

ON, OFF, UNKNOWN = PowerState.ON, PowerState.OFF, PowerState.UNKNOWN


def machine(name, power=ON, *, in_maintenance=False, up_when_off=True):
    return BaremetalNodeRow(
        uuid=uuid_of(f"machine {name}"),
        compute_node_id=uuid_of(f"host {name}"),
        human_id=name,
        power_state=power,
        maintenance=in_maintenance,
        up_when_off=up_when_off,
    )


def model(machines):
    found = baremetal_model()
    found.apply([Upsert(one) for one in machines])
    return found.snapshot()


def save(used, free, *, hosts=(), seed=1, **parameters):
    """`used` hosts with servers; `free`: machines without."""
    names = [f"used-{i}" for i in range(used)]
    made = {h.name: h for h in hosts}
    everything = [made.get(name) or host(name) for name in [*names, *(m.human_id for m in free)]]
    clouds = cloud(everything, [server(f"s-{name}", name) for name in names])
    machines = model([*map(machine, names), *free])
    solution = run(
        "saving_energy", clouds, context={"baremetal": machines, "seed": seed}, **parameters
    )
    return [
        (a.action_type, a.input_parameters["resource_name"], a.input_parameters["state"])
        for a in solution.actions
    ]


@pytest.mark.req("B-181", "B-182")
def test_the_worked_example_of_its_page():
    found = save(10, [machine("f1"), machine("f2"), machine("f3"), machine("f4", OFF)])
    assert len(found) == 2
    assert {(kind, state) for kind, _, state in found} == {("change_node_power_state", "off")}
    assert {name for _, name, _ in found} < {"f1", "f2", "f3"}


@pytest.mark.req("B-181")
@pytest.mark.parametrize(
    ("used", "on", "off", "parameters", "expected"),
    [
        (10, 1, 1, {}, []),
        (19, 1, 1, {}, []),
        (20, 1, 3, {}, ["on"]),
        (10, 0, 1, {"min_free_hosts_num": 3}, ["on"]),
        (10, 0, 0, {}, []),
        (10, 3, 0, {"free_used_percent": 20.0}, ["off"]),
        (10, 3, 0, {"standby_used_percent": 20.0}, ["off"]),
        (10, 3, 0, {"standby_nodes_int": 3}, []),
        (0, 3, 0, {}, ["off", "off"]),
    ],
)
def test_the_reserve_is_truncated_and_at_least_the_minimum(used, on, off, parameters, expected):
    free = [machine(f"on-{i}") for i in range(on)] + [machine(f"off-{i}", OFF) for i in range(off)]
    assert [state for _, _, state in save(used, free, **parameters)] == expected


@pytest.mark.req("B-180", "B-182", "B-041")
def test_machines_that_do_not_count_are_never_switched():
    free = [
        machine("m", in_maintenance=True),
        machine("o"),
        machine("w"),
        machine("d"),
        machine("u", UNKNOWN),
        machine("ours"),
    ]
    odd = [
        host("o", enabled=False, reason="operator"),
        host("w", enabled=False, reason="watcher_maintaining"),
        host("d", up=False),
        host("ours", enabled=False, reason="watcher_disabled"),
    ]
    found = save(1, [*free, machine("spare")], hosts=odd)
    assert len(found) == 1
    assert found[0][1] in {"ours", "spare"}


@pytest.mark.req("B-180")
def test_a_machine_outside_the_model_does_not_count():
    clouds = cloud([host("a"), host("b")], [server("x", "a")])
    machines = model([machine("a"), machine("b"), machine("stranger")])
    assert run("saving_energy", clouds, context={"baremetal": machines}).actions == []


@pytest.mark.req("B-180")
@pytest.mark.parametrize(("up_when_off", "expected"), [(True, []), (False, ["on"])])
def test_a_down_host_counts_as_off_only_where_its_service_goes_down_with_it(up_when_off, expected):
    free = [machine("f", OFF, up_when_off=up_when_off)]
    assert [state for _, _, state in save(10, free, hosts=[host("f", up=False)])] == expected


@pytest.mark.req("B-043", "B-182")
def test_the_seed_decides_which_and_the_parameter_wins():
    free = [machine(f"f{i}") for i in range(20)]
    assert save(1, free, seed=1) == save(1, free, seed=1)
    assert any(save(1, free, seed=1) != save(1, free, seed=other) for other in range(2, 6))
    assert save(1, free, seed=1, free_used_percent=900.0) != []


@pytest.mark.req("B-036")
def test_without_a_baremetal_model_the_audit_fails_and_says_why():
    with pytest.raises(ClusterStateNotDefined, match="baremetal"):
        run("saving_energy", cloud([host("a")], []))
