"""Scheduler filters and the selection of destinations: plug-ins that every strategy respects."""

from importlib import metadata

import numpy as np
import pytest
from cluster_builders import cloud, group, host, migrations, plan, run, server, uuid_of

from trimtab_common.domain.compute_terms import Aggregate
from trimtab_decision.destinations.capacity import CapacitySelector
from trimtab_decision.filters import FILTERS
from trimtab_decision.filters.host_state import matches
from trimtab_decision.framework import Planned, StrategyContext
from trimtab_decision.framework.destinations import find_servers
from trimtab_decision.framework.errors import UnknownPlugin
from trimtab_decision.plugins import load_registry
from trimtab_decision.settings import DecisionSettings, parse_filters
from trimtab_decision.strategies.dummy.strategy import Dummy
from trimtab_decision.verifier import verify

REGISTRY = load_registry(entry_points=False)


def planned(snapshot, where=()):
    """The cloud, with some servers planned elsewhere."""
    hosts = snapshot.server_host.copy()
    for name, to in dict(where).items():
        hosts[snapshot.server_name.index(name)] = snapshot.host_index(to)
    return Planned(
        snapshot=snapshot,
        host=hosts,
        free=snapshot.capacity() - snapshot.used(),
        demand=snapshot.server_demand.astype(float),
    )


def passing(name, clouds, server_name, where=()):
    """Names of the hosts that pass."""
    snapshot = clouds[0]
    (one,) = REGISTRY.filters_named([name])
    mask = one.passing(planned(snapshot, where), snapshot.server_name.index(server_name))
    return {snapshot.host_name[i] for i in np.flatnonzero(mask)}


@pytest.mark.req("B-057")
def test_availability_zone():
    clouds = cloud(
        [host("a", zone="z1"), host("b", zone="z2"), host("c")],
        [server("pinned", "a", zone="z1"), server("free", "a"), server("lost", "a", zone="z9")],
    )
    assert passing("AvailabilityZoneFilter", clouds, "pinned") == {"a"}
    assert passing("AvailabilityZoneFilter", clouds, "free") == {"a", "b", "c"}
    assert passing("AvailabilityZoneFilter", clouds, "lost") == set()


@pytest.mark.req("B-057")
def test_compute_service_enabled_and_up():
    clouds = cloud([host("a"), host("b", up=False), host("c", enabled=False)], [server("x", "a")])
    assert passing("ComputeFilter", clouds, "x") == {"a"}


@pytest.mark.req("B-057")
def test_hints_name_servers_to_be_with_or_without_and_planned_moves_count():
    clouds = cloud(
        [host("a"), host("b"), host("c")],
        [
            server("y", "b"),
            server("apart", "a", hints={"different_host": [uuid_of("y")]}),
            server("near", "a", hints={"same_host": uuid_of("y")}),
            server("none", "a"),
        ],
    )
    assert passing("DifferentHostFilter", clouds, "apart") == {"a", "c"}
    assert passing("DifferentHostFilter", clouds, "apart", {"y": "c"}) == {"a", "b"}
    assert passing("SameHostFilter", clouds, "near") == {"b"}
    assert passing("SameHostFilter", clouds, "near", {"y": "c"}) == {"c"}
    assert passing("SameHostFilter", clouds, "none") == {"a", "b", "c"}


@pytest.mark.req("B-057")
def test_server_groups():
    clouds = cloud(
        [host("a"), host("b"), host("c")],
        [server("x", "a"), server("y", "b"), server("z", "c"), server("u", "a")],
        groups=[
            group("g", "anti-affinity", "x", "y"),
            group("h", "affinity", "z", "u"),
            group("soft", "soft-anti-affinity", "z", "y"),
        ],
    )
    assert passing("ServerGroupAntiAffinityFilter", clouds, "x") == {"a", "c"}
    assert passing("ServerGroupAntiAffinityFilter", clouds, "x", {"y": "c"}) == {"a", "b"}
    assert passing("ServerGroupAntiAffinityFilter", clouds, "z") == {"a", "b", "c"}
    assert passing("ServerGroupAffinityFilter", clouds, "z") == {"a"}
    assert passing("ServerGroupAffinityFilter", clouds, "x") == {"a", "b", "c"}


@pytest.mark.req("B-057")
def test_a_group_may_allow_several_members_on_a_host():
    clouds = cloud(
        [host("a"), host("b")],
        [server("x", "a"), server("y", "b")],
        groups=[group("g", "anti-affinity", "x", "y", max_per_host=2)],
    )
    assert passing("ServerGroupAntiAffinityFilter", clouds, "x") == {"a", "b"}


@pytest.mark.req("B-057")
def test_aggregates_and_extra_specs():
    aggregates = [
        Aggregate(id=1, name="fast", zone=None, hosts=frozenset({"a"}), metadata={"ssd": "true"}),
        Aggregate(id=2, name="big", zone=None, hosts=frozenset({"b"}), metadata={"ram": "4,8"}),
    ]
    scoped = {"aggregate_instance_extra_specs:ssd": "true", "hw:cpu_policy": "dedicated"}
    clouds = cloud(
        [host("a"), host("b")],
        [server("x", "b", extra_specs=scoped), server("y", "a", extra_specs={"ram": ">= 8"})],
        aggregates,
    )
    assert passing("AggregateInstanceExtraSpecsFilter", clouds, "x") == {"a"}
    assert passing("AggregateInstanceExtraSpecsFilter", clouds, "y") == {"b"}


@pytest.mark.req("B-057")
@pytest.mark.parametrize(
    ("value", "requirement", "expected"),
    [
        ("8", "= 4", True),
        ("8", "== 8", True),
        ("8", ">= 9", False),
        ("x", ">= 9", False),
        ("abc", "s== abc", True),
        ("abc", "s!= abc", False),
        ("b", "s> a", True),
        ("2", "<or> 1 <or> 2", True),
        ("3", "<or> 1 <or> 2", False),
        ("sse4 avx", "<in> avx", True),
        ("sse4", "<all-in> sse4 avx", False),
        ("plain", "plain", True),
        ("plain", "other", False),
        ("", "", True),
    ],
)
def test_the_operators_of_extra_specs(value, requirement, expected):
    assert matches(value, requirement) is expected


@pytest.mark.req("B-057")
@pytest.mark.parametrize(("name", "expected"), [("CoreFilter", {"a", "c"}), ("RamFilter", {"a", "b"}),
                                                ("DiskFilter", {"a", "b", "c"})])  # fmt: skip
def test_room(name, expected):
    clouds = cloud(
        [host("a", vcpus=2, memory=4096), host("b", vcpus=1), host("c", memory=1)],
        [server("x", "a")],
    )
    assert passing(name, clouds, "x") == expected


@pytest.mark.req("B-056")
def test_the_default_passes_everything():
    clouds = cloud([host("a"), host("b", up=False)], [server("x", "a")])
    assert passing("AllHostsFilter", clouds, "x") == {"a", "b"}
    assert DecisionSettings().filters == {}


@pytest.mark.req("B-055")
def test_verify_destination_asks_every_filter():
    clouds = cloud([host("a", zone="z1"), host("b", zone="z2")], [server("x", "a", zone="z1")])
    context = StrategyContext(
        compute=clouds[0],
        filters=REGISTRY.filters_named(["AllHostsFilter", "AvailabilityZoneFilter"]),
    )
    assert Dummy.verify_destination(context, 0, 0)
    assert not Dummy.verify_destination(context, 0, 1)


@pytest.mark.req("B-056")
def test_the_option_is_parsed_and_unknown_names_are_refused_at_start():
    text = '{"basic": "AvailabilityZoneFilter, DifferentHostFilter"}'
    filters = parse_filters(text)
    assert filters == {"basic": ("AvailabilityZoneFilter", "DifferentHostFilter")}
    DecisionSettings(filters=filters).check_plugins(REGISTRY)
    for wrong in ({"basic": ("NoSuchFilter",)}, {"no_such_strategy": ()}):
        with pytest.raises(UnknownPlugin):
            DecisionSettings(filters=wrong).check_plugins(REGISTRY)
    with pytest.raises(UnknownPlugin, match="selection of destinations"):
        DecisionSettings(select_destinations="nope").check_plugins(REGISTRY)
    with pytest.raises(Exception, match="JSON"):
        parse_filters("basic=X")


@pytest.mark.req("B-050", "B-051")
def test_the_default_selection_is_by_room_and_never_the_source():
    snapshot, _ = cloud(
        [host("a"), host("b", vcpus=3), host("c"), host("d", disk=30)],
        [server("x", "a"), server("y", "c")],
    )
    pick = CapacitySelector().select
    order = np.array([3, 2, 1, 0])
    assert pick(planned(snapshot), find_servers(snapshot, [uuid_of("x")]), order).tolist() == [
        3, 2, 1,
    ]  # fmt: skip
    assert pick(planned(snapshot), [0, 1], order).tolist() == []
    assert CapacitySelector.name == "capacity"


class OnlyTheLast:
    """A selection that takes the last host, whatever it is."""

    name = "only_the_last"

    def select(self, planned, servers, hosts):  # noqa: ARG002, of the contract
        return hosts[-1:]


NEAR = {
    "basic": {},
    "node_resource_consolidation": {"host_choice": "specify"},
    "vm_workload_consolidation": {},
    "workload_balance": {},
    "workload_stabilization": {},
    "outlet_temperature": {},
    "uniform_airflow": {},
    "noisy_neighbor": {},
    "zone_migration": {"compute_nodes": [{"src_node": "a", "dst_node": "b"}]},
}


RULES = {"workload_balance", "outlet_temperature", "uniform_airflow", "noisy_neighbor"}


def busy(**fields):
    """A cloud in which every strategy wants to move x from a, to b by its own choice."""
    noise = "instance_l3_cache_usage"
    hot = {"host_outlet_temp": 50, "host_airflow": 500, "host_inlet_temp": 40, "host_power": 400}
    cool = {"host_outlet_temp": 20, "host_airflow": 100, "host_inlet_temp": 20, "host_power": 90}
    return cloud(
        [
            host("a", cpu_pct=80, metrics=hot, zone="z1"),
            host("b", cpu_pct=5, metrics=cool, zone="z1"),
            host("c", cpu_pct=9, metrics={**cool, "host_airflow": 150}, zone="z2"),
        ],
        [
            server("x", "a", cpu_pct=80, vcpus=4, metrics={noise: 20, f"{noise}_2p": 15}, **fields),
            server("v", "a", cpu_pct=100, vcpus=4, metadata={"watcher-priority": "1"}, locked=True,
                   metrics={noise: 5, f"{noise}_2p": 7.5}),
            server("b1", "b", cpu_pct=1, vcpus=4, memory=8192),
            server("c1", "c", cpu_pct=10, vcpus=2),
        ],
    )  # fmt: skip


@pytest.mark.req("B-055", "B-059")
@pytest.mark.parametrize("strategy", sorted(NEAR))
def test_every_strategy_respects_the_filters(strategy):
    clouds = busy(hints={"different_host": [uuid_of("b1")]})
    filters = REGISTRY.filters_named(["DifferentHostFilter"])
    solution = run(strategy, clouds, context={"filters": filters}, **NEAR[strategy])
    assert migrations(solution).get("x", (None, "elsewhere"))[1] != "b"
    assert verify(clouds[0], plan(solution)) == []


@pytest.mark.req("B-050", "B-051")
@pytest.mark.parametrize("strategy", sorted(NEAR))
def test_every_strategy_uses_the_selection_of_destinations(strategy):
    context = {"selector": OnlyTheLast()}
    if strategy in RULES:
        free = run(strategy, busy(), **NEAR[strategy])
        assert {target for _, target, _ in migrations(free).values()} == {"b"}
    solution = run(strategy, busy(), context=context, **NEAR[strategy])
    targets = {target for _, target, _ in migrations(solution).values()}
    assert targets <= {"c"}
    assert targets or strategy not in RULES


@pytest.mark.req("B-055", "B-050")
def test_filters_and_selections_of_other_distributions_are_loaded():
    registry = load_registry(entry_points=False)
    points = metadata.EntryPoints(
        [
            metadata.EntryPoint(
                name="mine", group="trimtab_scheduler_filters", value="test_filters:FILTERS"
            ),
            metadata.EntryPoint(
                name="only_the_last",
                group="watcher_select_destinations",
                value="test_filters:OnlyTheLast",
            ),
        ]
    )
    registry.load_entry_points(points)
    assert {one.name for one in FILTERS} < set(registry.filters)
    assert {"only_the_last", "capacity"} <= set(registry.selectors) | {
        name for _, name, _ in registry.failures
    }
