"""vm_workload_consolidation: fewer hosts, few moves, hard rules kept."""

import dataclasses

import numpy as np
import pytest
from cluster_builders import cloud, host, migrations, plan, run, server, switches

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import InvalidArgument
from trimtab_decision.simulate import hosts_after
from trimtab_decision.verifier import verify

STRATEGY = "vm_workload_consolidation"


def consolidate(clouds, **parameters):
    solution = run(STRATEGY, clouds, **parameters)
    assert verify(clouds[0], plan(solution)) == []
    return solution


def test_the_worked_example_of_its_page():
    clouds = cloud(
        [host("a", vcpus=8, memory=16384), host("b", vcpus=8, memory=16384), host("c")],
        [
            server("a1", "a"),
            server("b1", "b"),
            server("b2", "b", state=ServerState.STOPPED),
            server("c1", "c", vcpus=8, memory=16384),
        ],
    )
    solution = consolidate(clouds)
    assert migrations(solution) == {
        "a1": ("a", "c", "live"),
        "b1": ("b", "c", "live"),
        "b2": ("b", "c", "cold"),
    }
    assert switches(solution) == {
        "a": ("disabled", "watcher_disabled"),
        "b": ("disabled", "watcher_disabled"),
    }
    assert solution.indicators == {
        "compute_nodes_count": 3,
        "released_compute_nodes_count": 2,
        "instance_migrations_count": 3,
    }


@pytest.mark.req("B-093", "B-108")
def test_a_host_that_cannot_be_emptied_is_not_drained_at_all():
    clouds = cloud(
        [host("a"), host("b", vcpus=4)],
        [
            server("a1", "a", vcpus=1),
            server("a2", "a", vcpus=8),
            server("b1", "b", vcpus=3),
            server("b2", "b", state=ServerState.SUSPENDED, vcpus=1),
        ],
    )
    assert consolidate(clouds).actions == []


@pytest.mark.req("B-039", "C-099")
def test_a_host_with_an_excluded_server_stays_and_the_server_too():
    clouds = cloud([host("a"), host("b")], [server("x", "a", excluded=True), server("y", "b")])
    solution = consolidate(clouds)
    assert migrations(solution) == {"y": ("b", "a", "live")}
    assert switches(solution) == {"b": ("disabled", "watcher_disabled")}


def test_a_locked_server_is_not_moved():
    clouds = cloud([host("a"), host("b")], [server("x", "a", locked=True), server("y", "b")])
    assert migrations(consolidate(clouds)) == {"y": ("b", "a", "live")}


@pytest.mark.req("B-041")
@pytest.mark.parametrize("reason", ["operator", None, "watcher_maintaining"])
def test_a_host_disabled_by_others_is_left_alone(reason):
    clouds = cloud(
        [host("a", enabled=False, reason=reason), host("b")], [server("x", "a"), server("y", "b")]
    )
    assert consolidate(clouds).actions == []


def test_a_down_host_is_neither_source_nor_target():
    clouds = cloud([host("a", up=False), host("b")], [server("x", "a"), server("y", "b")])
    assert consolidate(clouds).actions == []


@pytest.mark.req("B-106")
def test_states_decide_the_kind_of_migration():
    clouds = cloud(
        [host("a"), host("b")],
        [
            server("act", "a"),
            server("pau", "a", state=ServerState.PAUSED),
            server("sto", "a", state=ServerState.STOPPED),
            *(server(f"b{i}", "b") for i in range(5)),
        ],
    )
    assert {name: kind for name, (_, _, kind) in migrations(consolidate(clouds)).items()} == {
        "act": "live",
        "pau": "live",
        "sto": "cold",
    }


@pytest.mark.req("B-108")
def test_empty_hosts_are_disabled_once_and_counted():
    clouds = cloud([host("a"), host("b"), host("c", enabled=False, reason="watcher_disabled")], [])
    solution = consolidate(clouds)
    assert list(switches(solution)) == ["a", "b"]
    assert solution.indicators["released_compute_nodes_count"] == 2


@pytest.mark.req("B-040")
def test_only_servers_that_opted_in_move_when_that_is_asked():
    clouds = cloud(
        [host("a"), host("b", vcpus=8)],
        [
            server("x", "a", metadata={"optimize": "no"}),
            server("y", "b", metadata={"k": "v"}),
            server("z", "a", metadata={"optimize": "YES"}),
        ],
    )
    assert migrations(consolidate(clouds, check_optimize_metadata=True)) == {}
    assert migrations(consolidate(clouds)) != {}


@pytest.mark.req("B-102")
@pytest.mark.parametrize(("cc", "moved"), [(1.0, 1), (0.4, 0)])
def test_cc_cpu_bounds_the_use_of_a_target(cc, moved):
    clouds = cloud(
        [host("a"), host("b")],
        [server("x", "a", vcpus=4, cpu_pct=100), server("y", "b", vcpus=4, cpu_pct=100)],
    )
    assert len(migrations(consolidate(clouds, cc_cpu=cc))) == moved


@pytest.mark.req("B-100", "B-101")
def test_a_server_without_cpu_value_counts_with_its_vcpus():
    clouds = cloud(
        [host("a"), host("b")],
        [server("x", "a", vcpus=4), server("y", "b", vcpus=4, cpu_pct=0)],
    )
    assert migrations(consolidate(clouds, cc_cpu=0.45)) == {}
    assert len(migrations(consolidate(clouds, cc_cpu=0.55))) == 1


@pytest.mark.req("B-101")
def test_measured_host_memory_limits_what_a_host_takes():
    servers = [server("x", "a", memory=16384), server("y", "b", memory=8192)]
    busy = cloud([host("a", ram_kib=30000 * 1024), host("b", ram_kib=30000 * 1024)], servers)
    idle = cloud([host("a", ram_kib=9000 * 1024), host("b", ram_kib=9000 * 1024)], servers)
    assert migrations(consolidate(busy)) == {}
    assert len(migrations(consolidate(idle))) == 1


@pytest.mark.req("B-103", "B-109")
def test_an_overloaded_host_is_relieved_with_one_move():
    clouds = cloud(
        [host("a", vcpus=4, ratio=(4.0, 1.0, 1.0), cpu_pct=100), host("b", vcpus=8)],
        [
            server("s1", "a", vcpus=2, cpu_pct=50),
            server("s2", "a", vcpus=4, cpu_pct=75),
            server("t", "b", vcpus=6, memory=16384, excluded=True),
        ],
    )
    solution = consolidate(clouds, cc_cpu=0.24)
    assert solution.actions == []  # b would be over: 0.24 x 8 cores
    clouds = cloud(
        [host("a", vcpus=4, cpu_pct=100, reserved=(1, 0, 0)), host("b", vcpus=8)],
        [
            server("s1", "a", vcpus=1, cpu_pct=50),
            server("s2", "a", vcpus=2, cpu_pct=75),
            server("t", "b", vcpus=4, cpu_pct=10, excluded=True),
        ],
    )
    assert migrations(consolidate(clouds))["s2"] == ("a", "b", "live")


@pytest.mark.req("B-106", "B-108")
def test_a_host_that_we_disabled_is_enabled_only_when_relief_needs_it():
    clouds = cloud(
        [
            host("a", vcpus=4, cpu_pct=100, reserved=(1, 0, 0)),
            host("b", enabled=False, reason="watcher_disabled"),
        ],
        [server("s1", "a", vcpus=1, cpu_pct=60), server("x", "a", excluded=True, cpu_pct=10)],
    )
    solution = consolidate(clouds, cc_cpu=0.9)
    assert switches(solution) == {"b": ("enabled", None)}
    assert migrations(solution) == {"s1": ("a", "b", "live")}
    assert solution.indicators["released_compute_nodes_count"] == 0


@pytest.mark.req("B-107")
def test_a_server_that_relief_put_on_a_host_emptied_later_moves_once():
    clouds = cloud(
        [host("a", vcpus=4, cpu_pct=100, reserved=(1, 0, 0)), host("b", vcpus=4), host("c")],
        [
            server("s1", "a", vcpus=2, cpu_pct=60),
            server("s2", "a", vcpus=1, excluded=True, cpu_pct=90),
            server("t", "b", vcpus=1, cpu_pct=10),
            server("u", "c", vcpus=8, memory=8192, cpu_pct=10),
        ],
    )
    solution = consolidate(clouds)
    assert migrations(solution) == {"s1": ("a", "c", "live"), "t": ("b", "c", "live")}
    assert switches(solution) == {"b": ("disabled", "watcher_disabled")}


@pytest.mark.req("B-105")
@pytest.mark.parametrize(
    "full",
    [
        {"ratio": (0.5, 1.0, 1.0)},  # 8 vCPU, all taken
        {"reserved": (0, 16384, 0)},  # 16 GiB, all taken
        {"disk": 160},
        {"ram_kib": 32768 * 1024},  # measured, whatever the flavors say
    ],
)
def test_a_saturated_host_is_no_destination(full):
    taken = server("t", "b", vcpus=8, memory=16384, disk=160, excluded=True)
    roomy = cloud([host("a"), host("b")], [server("s", "a"), taken])
    assert migrations(consolidate(roomy)) == {"s": ("a", "b", "live")}
    clouds = cloud([host("a"), host("b", **full)], [server("s", "a"), taken])
    assert consolidate(clouds).actions == []


def test_a_pinned_server_stays_in_its_zone():
    clouds = cloud(
        [host("a", zone="z1"), host("b", zone="z2")],
        [server("x", "a", zone="z1"), server("y", "b", zone="z2")],
    )
    assert migrations(consolidate(clouds)) == {}


@pytest.mark.req("B-038")
def test_a_migration_names_hosts_by_name_and_gives_reason_and_facts():
    clouds = cloud([host("a"), host("b")], [server("x", "a"), server("y", "b"), server("z", "b")])
    action = next(a for a in consolidate(clouds).actions if a.action_type == "migrate")
    assert action.input_parameters == {
        "migration_type": "live",
        "source_node": "a",
        "destination_node": "b",
        "resource_name": "x",
        "resource_id": server("x", "a").uuid,
    }
    assert action.reason == "a can be emptied with 1 moves; b is the tightest fit."
    assert action.facts == {
        "host": "a",
        "state": "active",
        "vcpus": 2,
        "memory_mib": 4096,
        "disk_gib": 20,
        "destination_status": "enabled",
        "destination_state": "up",
    }


@pytest.mark.req("B-217")
def test_hosts_are_disabled_before_servers_leave_them():
    clouds = cloud([host("a"), host("b")], [server("x", "a"), server("y", "b"), server("z", "b")])
    kinds = [step.action.action_type for step in plan(consolidate(clouds))]
    assert kinds == ["change_nova_service_state", "migrate"]


@pytest.mark.req("B-033")
@pytest.mark.parametrize("wrong", [{"cc_cpu": 0}, {"period": "x"}, {"unknown": 1}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(InvalidArgument):
        run(STRATEGY, cloud([], []), **wrong)


def test_an_empty_cloud_gives_an_empty_plan():
    assert consolidate(cloud([], [])).actions == []


def test_a_limit_on_migrations_frees_as_many_hosts_as_it_can_pay_for_and_the_bound_says_so():
    clouds = cloud(
        [host(name) for name in "abcd"],
        [
            server("a1", "a"),
            *(server(f"b{i}", "b", vcpus=1, memory=1024) for i in range(3)),
            *(server(f"c{i}", "c", vcpus=1, memory=1024) for i in range(4)),
            *(server(f"d{i}", "d", vcpus=1, memory=1024) for i in range(6)),
        ],
    )
    for limit, freed in ((0, 0), (1, 1), (4, 2), (7, 2)):
        solution = consolidate(clouds, max_migrations=limit)
        assert len(migrations(solution)) <= limit
        assert solution.indicators["released_compute_nodes_count"] == freed
        assert solution.stats["hosts_in_use_bound"] == 4 - freed


@pytest.mark.req("B-039")
def test_a_server_that_nova_is_busy_with_does_not_move():
    snapshot, metrics = cloud([host("a"), host("b")], [server("x", "a"), server("y", "b", vcpus=8)])
    busy = dataclasses.replace(snapshot, server_in_flux=np.ones(2, dtype=bool))
    assert consolidate((snapshot, metrics)).count("migrate") == 1
    assert consolidate((busy, metrics)).count("migrate") == 0


def test_a_second_audit_finds_nothing_to_do():
    clouds = cloud(
        [host(f"h{i}") for i in range(12)],
        [server(f"s{i}", f"h{i % 12}", vcpus=1 + i % 3) for i in range(30)],
    )
    snapshot, metrics = clouds
    solution = consolidate(clouds)
    assert solution.count("migrate") > 0
    after = hosts_after(snapshot, plan(solution))
    enabled = snapshot.host_enabled.copy()
    for name, (state, _) in switches(solution).items():
        enabled[snapshot.host_index(name)] = state == "enabled"
    moved = dataclasses.replace(snapshot, server_host=after, host_enabled=enabled)
    assert consolidate((moved, metrics)).actions == []
