"""basic: whole hosts emptied, by the shared search or by Watcher's walk."""

import pytest
from cluster_builders import cloud, host, migrations, plan, run, server, switches

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import InvalidArgument
from trimtab_decision.verifier import verify


def consolidate(clouds, **parameters):
    solution = run("basic", clouds, **parameters)
    assert verify(clouds[0], plan(solution)) == []
    return solution


EXAMPLE = cloud(
    [host("a", cpu_pct=10), host("b", cpu_pct=60), host("c", cpu_pct=20)],
    [server("a1", "a"), server("b1", "b", vcpus=8), server("c1", "c", vcpus=4)],
)


@pytest.mark.req("B-091", "B-092")
@pytest.mark.parametrize("attempts", [0, 1])
def test_the_worked_example_of_its_page(attempts):
    solution = consolidate(EXAMPLE, migration_attempts=attempts)
    assert migrations(solution) == {"a1": ("a", "b", "live"), "c1": ("c", "b", "live")}
    assert switches(solution) == {
        "a": ("disabled", "watcher_disabled"),
        "c": ("disabled", "watcher_disabled"),
    }
    assert solution.indicators == {
        "compute_nodes_count": 3,
        "released_compute_nodes_count": 2,
        "instance_migrations_count": 2,
    }


@pytest.mark.req("B-093")
@pytest.mark.parametrize("attempts", [0, 5])
def test_a_host_that_cannot_be_emptied_is_not_drained_in_part(attempts):
    clouds = cloud(
        [host("a", vcpus=8), host("b", vcpus=8)],
        [
            server("a1", "a", vcpus=1),
            server("a2", "a", vcpus=5),
            server("b1", "b", vcpus=5),
            server("b2", "b", vcpus=1),
        ],
    )
    assert consolidate(clouds, migration_attempts=attempts).actions == []


@pytest.mark.req("B-093")
def test_a_disabled_host_is_no_destination():
    clouds = cloud(
        [host("a"), host("b", enabled=False, reason="watcher_disabled")],
        [server("a1", "a"), server("b1", "b", excluded=True)],
    )
    assert consolidate(clouds).actions == []


@pytest.mark.req("B-093")
@pytest.mark.parametrize(("attempts", "moved"), [(1, 0), (2, 1)])
def test_the_walk_ends_after_exactly_so_many_failures_in_a_row(attempts, moved):
    clouds = cloud(
        [host("a", cpu_pct=1), host("b", cpu_pct=2), host("c", cpu_pct=9)],
        [server("a1", "a", state=ServerState.STOPPED), server("b1", "b"), server("c1", "c")],
    )
    assert len(migrations(consolidate(clouds, migration_attempts=attempts))) == moved


@pytest.mark.req("B-090")
def test_a_host_without_measurement_counts_as_fully_loaded():
    clouds = cloud(
        [host("a", cpu_pct=90), host("b"), host("c", cpu_pct=95)],
        [server("a1", "a"), server("b1", "b"), server("c1", "c")],
    )
    moves = migrations(consolidate(clouds, migration_attempts=1))
    assert {name: target for name, (_, target, _) in moves.items()} == {"a1": "b", "c1": "b"}


@pytest.mark.req("B-040")
def test_only_servers_that_opted_in_move_and_a_missing_key_is_no_opting_in():
    clouds = cloud(
        [host("a"), host("b"), host("c")],
        [
            server("a1", "a", metadata={"optimize": "yes"}),
            server("b1", "b", metadata={"other": "1"}, vcpus=4),
            server("c1", "c", metadata={"optimize": "off"}, vcpus=4),
        ],
    )
    assert set(migrations(consolidate(clouds, check_optimize_metadata=True))) == {"a1"}


@pytest.mark.req("B-033")
@pytest.mark.parametrize("given", [{"migration_attempts": -1}, {"min_gain": 101}, {"nope": 1}])
def test_parameters_out_of_bounds_are_refused(given):
    with pytest.raises(InvalidArgument):
        run("basic", EXAMPLE, **given)


def test_a_limit_on_migrations_empties_the_hosts_it_can_pay_for():
    solution = consolidate(EXAMPLE, max_migrations=1)
    assert len(migrations(solution)) == 1
    assert solution.indicators["released_compute_nodes_count"] == 1
    assert consolidate(EXAMPLE, max_migrations=0).actions == []


def test_a_gain_below_min_gain_plans_nothing_and_says_so():
    solution = consolidate(EXAMPLE, min_gain=70)
    assert solution.actions == []
    assert any("less than min_gain" in message for message in solution.messages)
    assert solution.indicators["released_compute_nodes_count"] == 0
