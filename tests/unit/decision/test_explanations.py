"""What a plan says of itself: reasons, the next best host, bound, cost and the curve."""

import pytest
from cluster_builders import cloud, host, run, server

from trimtab_decision.explanation import explain

CONSOLIDATIONS = ("basic", "node_resource_consolidation", "vm_workload_consolidation")


def spread():
    """Four hosts that fit on one."""
    return cloud(
        [host(name, cpu_pct=10 * (i + 1)) for i, name in enumerate("abcd")],
        [
            server(f"{name}{i}", name, vcpus=1, memory=1024, cpu_pct=50)
            for name, count in (("a", 1), ("b", 2), ("c", 3), ("d", 4))
            for i in range(count)
        ],
    )


@pytest.mark.parametrize("strategy", CONSOLIDATIONS)
def test_a_consolidation_tells_bound_gap_cost_and_what_each_part_of_it_brings(strategy):
    clouds = spread()
    told = explain(run(strategy, clouds), *clouds)
    assert (told["bound_of"], told["value"], told["bound"]) == ("hosts in use", 1, 1)
    assert told["gap_pct"] == 0
    assert told["cost"] == {"migrations": 6, "memory_mib": 6 * 1024}
    curve = [(point["migrations"], point["hosts_in_use"]) for point in told["curve"]]
    assert curve[0] == (0, 4)
    assert curve[-1] == (6, 1)
    assert [hosts for _, hosts in curve] == sorted((h for _, h in curve), reverse=True)
    assert (3, 2) in curve  # hosts are emptied one after the other: half the moves bring two


def test_a_balance_tells_how_its_moves_lower_the_deviation():
    servers = [server(f"s{i}", "a", vcpus=2, cpu_pct=80) for i in range(6)]
    clouds = cloud(
        [host("a", vcpus=16, cpu_pct=70), host("b", cpu_pct=5), host("c", cpu_pct=5)], servers
    )
    solution = run("workload_stabilization", clouds)
    told = explain(solution, *clouds)
    deviations = [point["cpu_load_sd"] for point in told["curve"]]
    assert deviations == sorted(deviations, reverse=True)
    assert deviations[-1] < deviations[0]
    assert told["bound"] is not None
    assert all("next best" in action.reason for action in solution.actions)


def test_an_empty_plan_has_no_curve_and_says_what_stopped_it():
    clouds = cloud([host("a"), host("b", vcpus=1)], [server("x", "a", vcpus=16), server("y", "b")])
    told = explain(run("vm_workload_consolidation", clouds), *clouds)
    assert told["curve"] == []
    assert told["cost"] == {"migrations": 0, "memory_mib": 0}
    assert told["messages"]


def heat(degrees):
    return {"metrics": {"host_outlet_temp": degrees}}


def wind(flow):
    return {"metrics": {"host_airflow": flow, "host_inlet_temp": 40.0, "host_power": 500.0}}


@pytest.mark.parametrize(
    ("strategy", "of", "levels"),
    [
        ("outlet_temperature", heat, (40.0, 20.0, 25.0, 30.0)),
        ("uniform_airflow", wind, (500.0, 100.0, 200.0, 300.0)),
    ],
)
def test_a_step_names_the_next_best_host_and_what_ruled_out_the_best(strategy, of, levels):
    bad, best, good, fair = levels
    clouds = cloud(
        [
            host("bad", **of(bad)),
            host("best", memory=2048, **of(best)),
            host("fair", **of(fair)),
            host("good", **of(good)),
        ],
        [server("s", "bad", memory=4096)],
    )
    (action,) = run(strategy, clouds).actions
    assert action.input_parameters["destination_node"] == "good"
    assert action.reason.endswith("; next best fair; best is ruled out by MEMORY_MB.")


def test_a_pinned_server_names_the_zone_as_what_ruled_out_the_best():
    snapshot, metrics = cloud(
        [
            host("bad", zone="z1", **heat(40.0)),
            host("best", zone="z2", **heat(20.0)),
            host("good", zone="z1", **heat(25.0)),
        ],
        [server("s", "bad", zone="z1")],
    )
    (action,) = run("outlet_temperature", (snapshot, metrics)).actions
    assert action.reason.endswith("; best is ruled out by availability zone or filter.")
