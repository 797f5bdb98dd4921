"""noisy_neighbor: who took whose cache."""

import pytest
from cluster_builders import cloud, host, migrations, plan, run, server

from trimtab_common.domain.snapshot import MetricsTable
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.verifier import verify

NOISE = "instance_l3_cache_usage"


def cached(name, on, now, before, priority=None, **fields):
    """A server with its cache use now and one period ago."""
    metadata = {} if priority is None else {"watcher-priority": priority}
    metrics = {NOISE: now, f"{NOISE}_2p": (now + before) / 2}
    return server(name, on, metadata=metadata, metrics=metrics, **fields)


def quieten(clouds, **parameters):
    solution = run("noisy_neighbor", clouds, **parameters)
    assert verify(clouds[0], plan(solution)) == []
    return solution


@pytest.mark.req("B-170", "B-171", "B-172", "B-173", "B-038")
def test_the_worked_example_of_its_page():
    clouds = cloud(
        [host("a"), host("b")],
        [cached("victim", "a", 5e6, 10e6, "1"), cached("noisy", "a", 20e6, 10e6)],
    )
    assert migrations(quieten(clouds)) == {"noisy": ("a", "b", "live")}


@pytest.mark.req("B-170")
@pytest.mark.parametrize(("threshold", "moved"), [(49, 1), (50, 0)])
def test_changes_must_be_larger_than_the_threshold(threshold, moved):
    clouds = cloud(
        [host("a"), host("b")],
        [cached("victim", "a", 5, 10, "1"), cached("noisy", "a", 20, 10)],
    )
    assert len(quieten(clouds, cache_threshold=threshold).actions) == moved


@pytest.mark.req("B-171", "B-173")
def test_the_least_important_noisy_server_is_chosen_and_odd_priorities_count_as_five():
    clouds = cloud(
        [host("a"), host("b")],
        [
            cached("victim", "a", 5, 10, "1"),
            cached("loud", "a", 20, 10, "high"),
            cached("louder", "a", 20, 10, "8"),
            cached("other", "a", 20, 10, ""),
        ],
    )
    assert set(migrations(quieten(clouds))) == {"louder"}


@pytest.mark.req("B-171")
def test_a_noisy_server_that_is_more_important_than_the_victim_stays():
    clouds = cloud(
        [host("a"), host("b")],
        [cached("victim", "a", 5, 10, "8"), cached("noisy", "a", 20, 10, "1")],
    )
    assert quieten(clouds).actions == []


@pytest.mark.req("B-172", "B-173")
def test_of_two_noisy_hosts_the_one_with_the_most_important_victim_counts():
    clouds = cloud(
        [host("a"), host("b"), host("c")],
        [
            cached("va", "a", 5, 10, "3"),
            cached("na", "a", 20, 10),
            cached("vb", "b", 5, 10, "2"),
            cached("nb", "b", 20, 10),
        ],
    )
    assert migrations(quieten(clouds)) == {"nb": ("b", "c", "live")}


@pytest.mark.req("B-170", "B-042", "B-039")
def test_servers_without_values_and_excluded_ones_are_passed_over():
    clouds = cloud(
        [host("a"), host("b")],
        [
            cached("victim", "a", 5, 10, "1"),
            server("unknown", "a"),
            cached("noisy", "a", 20, 10, excluded=True),
        ],
    )
    assert quieten(clouds).actions == []


def test_without_the_metric_the_audit_fails_with_its_name():
    clouds = cloud([host("a")], [server("x", "a")])
    with pytest.raises(MetricNotAvailable, match=NOISE):
        quieten((clouds[0], MetricsTable()))
