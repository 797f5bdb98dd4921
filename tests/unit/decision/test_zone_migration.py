"""zone_migration: who moves, in which order, and how many in one plan."""

import itertools

import pytest
from cluster_builders import cloud, host, migrations, plan, run, server, uuid_of

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.elements import Upsert
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.storage import Attachment, PoolRow, VolumeRow, storage_model
from trimtab_decision.framework.errors import ClusterStateNotDefined
from trimtab_decision.strategies.zone_migration.priority import ordered_servers, ordered_volumes
from trimtab_decision.verifier import verify


def empty(clouds, *, volumes=(), **parameters):
    storage = storage_model()
    storage.apply([Upsert(PoolRow(name=name)) for name in ("p1", "p2")])
    storage.apply([Upsert(one) for one in volumes])
    context = {"storage": storage.snapshot()}
    solution = run("zone_migration", clouds, context=context, **parameters)
    assert verify(clouds[0], plan(solution)) == []
    return solution


def moved(solution):
    return [a.input_parameters["resource_name"] for a in solution.actions]


EXAMPLE = cloud(
    [host("a"), host("b", vcpus=32, memory=65536)],
    [server(f"s{n}", "a", vcpus=n, memory=1024) for n in (1, 2, 4, 8)],
)
TO_B = [{"src_node": "a", "dst_node": "b"}]


@pytest.mark.req("B-185", "B-186", "B-188", "B-191", "B-018")
def test_the_worked_example_of_its_page():
    solution = empty(EXAMPLE, compute_nodes=TO_B, priority={"compute": ["vcpu_num"]})
    assert migrations(solution) == {"s8": ("a", "b", "live"), "s4": ("a", "b", "live")}
    assert solution.indicators["live_migrate_instance_count"] == 4
    assert solution.indicators["planned_live_migrate_instance_count"] == 2


@pytest.mark.req("B-186")
def test_the_specifications_example_of_priorities():
    names = ["pj1-c2", "pj2-c1-big", "pj1-c1", "pj2-c1-small"]
    clouds = cloud(
        [host("compute1"), host("compute2")],
        [
            server(names[0], "compute2", project="pj1", vcpus=1, memory=4),
            server(names[1], "compute1", project="pj2", vcpus=1, memory=2),
            server(names[2], "compute1", project="pj1", vcpus=2, memory=3),
            server(names[3], "compute1", project="pj2", vcpus=1, memory=1),
        ],
    )
    snapshot = clouds[0]
    given = [snapshot.server_name.index(name) for name in names]
    priority = {
        "compute": ["cpu_num"],
        "compute_node": ["compute1", "compute2"],
        "project": ["pj1"],
        "storage": ["size"],
    }
    ordered = [snapshot.server_name[i] for i in ordered_servers(snapshot, given, priority)]
    assert ordered == ["pj1-c1", "pj1-c2", "pj2-c1-big", "pj2-c1-small"]


def volume(name, pool="p1", size=1, **fields):
    return VolumeRow(uuid=uuid_of(f"volume {name}"), name=name, pool=pool, size_gb=size, **fields)


@pytest.mark.req("B-186")
def test_the_specifications_example_of_volumes():
    volumes = [
        volume("v1", "pool1", 3, project_id="pj1", created_at_s=25),
        volume("v2", "pool1", 3, project_id="pj1", created_at_s=26),
        volume("v3", "pool1", 5, project_id="pj2", created_at_s=25),
        volume("v4", "pool2", 3, project_id="pj1", created_at_s=25),
    ]
    priority = {"project": ["pj1"], "storage_pool": ["pool1", "pool2"], "storage": ["size"]}
    ordered = [one.name for one in ordered_volumes(volumes, priority)]
    assert ordered[:2] == ["v1", "v2"]
    # pj1 dominates: the specification lists pj2's volume third, against its own precedence
    assert set(ordered[2:]) == {"v3", "v4"}


@pytest.mark.req("B-186")
@pytest.mark.parametrize(
    ("criterion", "first"),
    [("vcpu_num", "x"), ("cpu_num", "x"), ("mem_size", "y"), ("memory_size", "y"),
     ("disk_size", "z"), ("created_at", "z"), (["created_at"], "z")],
)  # fmt: skip
def test_the_largest_goes_first_and_the_oldest(criterion, first):
    clouds = cloud(
        [host("a"), host("b")],
        [
            server("x", "a", vcpus=4, memory=1, disk=1, created_at_s=30),
            server("y", "a", vcpus=1, memory=4, disk=1, created_at_s=20),
            server("z", "a", vcpus=1, memory=1, disk=4, created_at_s=10),
        ],
    )
    solution = empty(clouds, compute_nodes=TO_B, priority={"compute": criterion})
    assert moved(solution)[0] == first


@pytest.mark.req("B-188", "B-039")
def test_servers_in_other_states_and_excluded_ones_neither_move_nor_count():
    clouds = cloud(
        [host("a"), host("b")],
        [
            server("stopped", "a", state=ServerState.STOPPED),
            server("paused", "a", state=ServerState.PAUSED),
            server("suspended", "a", state=ServerState.SUSPENDED),
            server("excluded", "a", excluded=True),
            server("locked", "a", locked=True),
        ],
    )
    solution = empty(clouds, compute_nodes=[{"src_node": "a"}], parallel_per_node=9)
    assert migrations(solution) == {
        "stopped": ("a", None, "cold"),
        "paused": ("a", None, "live"),
        "locked": ("a", None, "live"),
    }
    assert solution.indicators["live_migrate_instance_count"] == 2
    assert solution.indicators["cold_migrate_instance_count"] == 1


@pytest.mark.req("B-189", "B-188")
@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({}, 2),
        ({"parallel_per_node": 3}, 3),
        ({"parallel_total": 1}, 1),
        ({"parallel_total": 0}, 0),
    ],
)
def test_limits_cap_the_actions_of_one_plan(limits, count):
    assert len(empty(EXAMPLE, compute_nodes=TO_B, **limits).actions) == count


@pytest.mark.req("B-059")
def test_a_given_destination_that_cannot_take_a_server_is_not_named():
    clouds = cloud([host("a"), host("b", vcpus=4)], [server("x", "a", vcpus=8), server("y", "a")])
    solution = empty(clouds, compute_nodes=TO_B)
    assert migrations(solution) == {"y": ("a", "b", "live")}
    assert any("cannot take x: VCPU" in message for message in solution.messages)


@pytest.mark.req("B-185")
@pytest.mark.parametrize("round_way", [("a", "b", "a"), ("a", "c", "b", "a")])
def test_nodes_that_are_each_others_destination_keep_their_servers(round_way):
    """The first plan would move them there, the second one back, and so on for ever."""
    clouds = cloud([host("a"), host("b"), host("c")], [server("x", "a"), server("y", "b")])
    nodes = [{"src_node": s, "dst_node": d} for s, d in itertools.pairwise(round_way)]
    solution = empty(clouds, compute_nodes=nodes)
    assert migrations(solution) == {}
    assert any("a is on a round way" in message for message in solution.messages)


def test_a_node_that_is_its_own_destination_keeps_its_servers_which_is_told_once():
    solution = empty(EXAMPLE, compute_nodes=[{"src_node": "a", "dst_node": "a"}])
    assert migrations(solution) == {}
    (message,) = solution.messages
    assert message.startswith("a is on a round way")


def test_a_node_may_be_the_destination_of_one_and_go_on_to_another():
    clouds = cloud([host("a"), host("b"), host("c")], [server("x", "a"), server("y", "b")])
    nodes = [{"src_node": "a", "dst_node": "b"}, {"src_node": "b", "dst_node": "c"}]
    ways = {"x": ("a", "b", "live"), "y": ("b", "c", "live")}
    assert migrations(empty(clouds, compute_nodes=nodes)) == ways


def test_volumes_of_pools_that_are_each_others_destination_stay():
    pools = [{"src_pool": "p1", "dst_pool": "p2"}, {"src_pool": "p2", "dst_pool": "p1"}]
    solution = empty(EXAMPLE, volumes=[volume("v", "p1"), volume("w", "p2")], storage_pools=pools)
    assert solution.actions == []
    assert any("Pool p2 is on a round way" in message for message in solution.messages)
    typed = [{**pools[1], "src_type": "other"}, pools[0]]  # no volume of that type comes back
    assert moved(empty(EXAMPLE, volumes=[volume("v", "p1")], storage_pools=typed)) == ["v"]


def test_types_that_are_each_others_destination_stay_and_a_way_of_types_that_ends_is_gone():
    there = {"src_pool": "p1", "src_type": "A", "dst_type": "B"}
    back = {"src_pool": "p1", "src_type": "B", "dst_type": "A"}
    on = {"src_pool": "p1", "src_type": "B", "dst_pool": "p2"}
    volumes = [volume("v", "p1", volume_type="A")]
    solution = empty(EXAMPLE, volumes=volumes, storage_pools=[there, back])
    assert solution.actions == []
    assert any("on a round way" in message for message in solution.messages)
    assert moved(empty(EXAMPLE, volumes=volumes, storage_pools=[there, on])) == ["v"]


@pytest.mark.req("B-185")
@pytest.mark.parametrize("parameters", [{}, {"compute_nodes": [{"src_node": "nowhere"}]}])
def test_nothing_given_or_an_unknown_node_gives_an_empty_plan(parameters):
    solution = empty(EXAMPLE, **parameters)
    assert solution.actions == []
    assert solution.indicators["planned_live_migrate_instance_count"] == 0


@pytest.mark.req("B-187", "B-191")
def test_volumes_are_retyped_or_migrated_by_the_entry_that_matches_best():
    volumes = [
        volume("plain"),
        volume("gold", volume_type="gold", status="in-use"),
        volume("elsewhere", "p2"),
    ]
    pools = [
        {"src_pool": "p1", "dst_pool": "p2"},
        {"src_pool": "p1", "src_type": "gold", "dst_type": "silver"},
    ]
    solution = empty(EXAMPLE, volumes=volumes, storage_pools=pools)
    actions = {a.input_parameters["resource_name"]: a.input_parameters for a in solution.actions}
    assert actions["plain"]["destination_node"] == "p2"
    assert actions["plain"]["migration_type"] == "migrate"
    assert actions["gold"]["destination_type"] == "silver"
    assert actions["gold"]["migration_type"] == "retype"
    assert set(actions) == {"plain", "gold"}
    assert solution.indicators["volume_migrate_count"] == 1
    assert solution.indicators["volume_update_count"] == 1
    assert solution.indicators["planned_volume_update_count"] == 1


@pytest.mark.req("B-187")
def test_a_pool_that_has_its_share_waits_and_volumes_count_in_the_total():
    volumes = [volume(f"v{i}") for i in range(4)]
    pools = [{"src_pool": "p1", "dst_pool": "p2"}]
    solution = empty(
        EXAMPLE, volumes=volumes, storage_pools=pools, compute_nodes=TO_B, parallel_total=3
    )
    assert [a.action_type for a in solution.actions] == ["volume_migrate"] * 2 + ["migrate"]


@pytest.mark.req("B-190")
def test_a_server_follows_its_volume_and_never_goes_before_it():
    attached = volume("disk", status="in-use", attachments=(Attachment(uuid_of("s1"), "1"),))
    solution = empty(
        EXAMPLE,
        volumes=[attached],
        storage_pools=[{"src_pool": "p1", "dst_pool": "p2"}],
        compute_nodes=TO_B,
        priority={"compute": "vcpu_num"},
        with_attached_volume=True,
    )
    assert moved(solution) == ["disk", "s1", "s8"]
    planned = plan(solution)
    kinds = [step.action.action_type for step in planned]
    assert kinds == ["volume_migrate", "migrate", "migrate"]
    assert planned[1].parents == (0,)


@pytest.mark.req("B-033")
@pytest.mark.parametrize(
    "given",
    [
        {"storage_pools": [{"src_pool": "p1"}]},
        {"storage_pools": [{"src_pool": "p1", "dst_pool": "p2", "dst_type": "t"}]},
        {"compute_nodes": [{"dst_node": "b"}]},
        {"parallel_total": -1},
        {"priority": {"color": ["red"]}},
        {"priority": {"compute": "height"}},
    ],
)
def test_parameters_out_of_bounds_are_refused(given):
    with pytest.raises(InvalidArgument):
        empty(EXAMPLE, **given)


@pytest.mark.req("B-036")
def test_pools_without_a_storage_model_fail_the_audit():
    with pytest.raises(ClusterStateNotDefined, match="storage"):
        run("zone_migration", EXAMPLE, storage_pools=[{"src_pool": "p1", "dst_pool": "p2"}])
