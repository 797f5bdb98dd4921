"""outlet_temperature and uniform_airflow: servers off hot hosts and off hosts that blow hard."""

import pytest
from cluster_builders import cloud, host, migrations, plan, run, server, uuid_of

from trimtab_common.domain.compute_terms import ServerState
from trimtab_decision.verifier import verify


def result(strategy, clouds, **parameters):
    solution = run(strategy, clouds, **parameters)
    assert verify(clouds[0], plan(solution)) == []
    return solution


def warm(name, temperature, **fields):
    return host(name, metrics={"host_outlet_temp": temperature}, **fields)


@pytest.mark.req("B-160", "B-038")
def test_one_server_of_the_hottest_host_moves_to_the_coolest_by_hostnames():
    names = sorted(["x", "y"], key=uuid_of)
    clouds = cloud([warm("a", 40), warm("b", 25), warm("c", 20)], [server(n, "a") for n in names])
    solution = result("outlet_temperature", clouds)
    assert migrations(solution) == {names[0]: ("a", "c", "live")}


@pytest.mark.req("B-160")
@pytest.mark.parametrize(("temperature", "moved"), [(35, 1), (34.9, 0)])
def test_a_host_exactly_at_the_threshold_is_hot(temperature, moved):
    clouds = cloud([warm("a", temperature), warm("b", 20)], [server("x", "a")])
    assert len(result("outlet_temperature", clouds).actions) == moved


@pytest.mark.req("B-160")
def test_hosts_without_a_value_and_servers_that_may_not_move_are_passed_over():
    clouds = cloud(
        [warm("a", 50), warm("b", 40), host("c"), warm("d", 30), warm("e", 20, vcpus=1)],
        [
            server("a1", "a", excluded=True),
            server("a2", "a", state=ServerState.STOPPED),
            server("b1", "b"),
        ],
    )
    assert migrations(result("outlet_temperature", clouds)) == {"b1": ("b", "d", "live")}


@pytest.mark.req("B-160")
def test_a_server_without_a_place_gives_way_to_the_next_one():
    clouds = cloud(
        [warm("a", 50), warm("b", 20, vcpus=2)],
        [server("a1", "a", vcpus=8), server("a2", "a", vcpus=2)],
    )
    assert migrations(result("outlet_temperature", clouds)) == {"a2": ("a", "b", "live")}


def windy(name, airflow, inlet=20.0, power=100.0, **fields):
    metrics = {"host_airflow": airflow, "host_inlet_temp": inlet, "host_power": power}
    return host(name, metrics=metrics, **fields)


PAIR = [server("a1", "a", vcpus=4), server("a2", "a", state=ServerState.STOPPED)]


@pytest.mark.req("B-165", "B-166", "B-167")
def test_all_servers_leave_a_host_whose_hardware_is_suspect():
    clouds = cloud([windy("a", 500), windy("b", 300), windy("c", 200)], PAIR)
    assert migrations(result("uniform_airflow", clouds)) == {
        "a1": ("a", "c", "live"),
        "a2": ("a", "c", "cold"),
    }


@pytest.mark.req("B-165", "B-042")
@pytest.mark.parametrize(
    ("inlet", "power"), [(30, 400), (30, 100), (20, 400), (float("nan"), 100), (20, float("nan"))]
)
def test_one_active_server_leaves_a_host_that_has_reason_to_blow(inlet, power):
    clouds = cloud([windy("a", 500, inlet, power), windy("c", 200)], PAIR)
    assert migrations(result("uniform_airflow", clouds)) == {"a1": ("a", "c", "live")}


@pytest.mark.req("B-166")
def test_nothing_moves_when_one_server_has_no_place():
    clouds = cloud([windy("a", 500), windy("c", 200, vcpus=5)], PAIR)
    solution = result("uniform_airflow", clouds)
    assert solution.actions == []
    assert any("has no place" in message for message in solution.messages)


@pytest.mark.req("B-166")
def test_room_is_counted_while_servers_are_placed():
    clouds = cloud([windy("a", 500), windy("b", 300), windy("c", 200, vcpus=4)], PAIR)
    assert migrations(result("uniform_airflow", clouds)) == {
        "a1": ("a", "c", "live"),
        "a2": ("a", "b", "cold"),
    }


@pytest.mark.req("B-039")
def test_an_excluded_server_stays_even_when_all_leave():
    clouds = cloud([windy("a", 500), windy("c", 200)], [*PAIR, server("a3", "a", excluded=True)])
    assert set(migrations(result("uniform_airflow", clouds))) == {"a1", "a2"}


@pytest.mark.parametrize("strategy", ["outlet_temperature", "uniform_airflow"])
def test_an_empty_plan_says_why(strategy):
    clouds = cloud([windy("a", 100), windy("b", 100)], [server("x", "a")])
    clouds[1].host["host_outlet_temp"] = clouds[1].host["host_airflow"] / 10
    solution = result(strategy, clouds)
    assert solution.actions == []
    assert any("nothing to do" in message for message in solution.messages)
