"""storage_capacity_balance: volumes off full pools."""

import pytest
from cluster_builders import NOW, plan, run, uuid_of

from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.snapshot import MetricsTable
from trimtab_common.domain.storage import (
    POOL,
    VOLUME,
    VOLUME_TYPE,
    PoolRow,
    VolumeRow,
    VolumeTypeRow,
)
from trimtab_decision.framework.errors import ClusterStateNotDefined


def pool(name, free, total=100.0, **fields):
    return PoolRow(
        name=f"h@{name}#{name}", total_gb=total, free_gb=free, backend_name=name, **fields
    )


def volume(name, size, on="a", status="available", **fields):
    return VolumeRow(
        uuid=uuid_of(f"volume {name}"),
        name=name,
        pool=f"h@{on}#{on}",
        status=status,
        size_gb=size,
        **fields,
    )


def balance(pools, volumes, types=(), **parameters):
    rows = {POOL: tuple(pools), VOLUME: tuple(volumes), VOLUME_TYPE: tuple(types)}
    storage = ElementSnapshot(epoch="t", revision=1, taken_at=NOW, rows=rows)
    context = {"storage": storage, "compute": None}
    return run("storage_capacity_balance", (None, MetricsTable()), context=context, **parameters)


def moved(solution):
    return [
        (
            a.input_parameters["resource_name"],
            a.input_parameters["migration_type"],
            a.input_parameters.get("destination_node") or a.input_parameters["destination_type"],
        )
        for a in solution.actions
    ]


@pytest.mark.req("B-151", "B-152", "B-153", "B-157")
def test_the_worked_example_of_its_page():
    volumes = [volume("used", 5, status="in-use"), volume("ten", 10), volume("twenty", 20)]
    solution = balance([pool("a", 10), pool("b", 90)], volumes)
    assert moved(solution) == [("ten", "migrate", "h@b#b"), ("twenty", "migrate", "h@b#b")]
    assert solution.indicators == {"instance_migrations_count": 0, "instances_count": 0}


@pytest.mark.req("B-152", "B-155")
def test_the_order_is_detached_attached_bootable_and_replicated_last():
    volumes = [
        volume("replicated", 1, volume_type="mirror-a"),
        volume("boot", 1, status="in-use", bootable=True),
        volume("attached", 1, status="in-use"),
        volume("detached", 3),
        volume("small", 2),
    ]
    types = [
        VolumeTypeRow(
            name=f"mirror-{backend}",
            extra_specs={"volume_backend_name": backend, "replication_enabled": "<is> True"},
        )
        for backend in "ab"
    ]
    solution = balance([pool("a", 0), pool("b", 90)], volumes, types)
    assert [name for name, _, _ in moved(solution)] == [
        "small", "detached", "attached", "boot", "replicated",
    ]  # fmt: skip


@pytest.mark.req("B-151", "B-150")
def test_what_may_not_move_stays_and_odd_pools_are_left_alone():
    volumes = [
        volume("snap", 1, snapshot_id="s"),
        volume("busy", 1, migration_status="migrating"),
        volume("error", 1, status="error"),
        volume("moved", 1, migration_status="success"),
        volume("silent", 1, on="c"),
        volume("local", 1, on="local_vstorage"),
    ]
    pools = [
        pool("a", 10),
        pool("b", 90),
        PoolRow(name="h@c#c"),
        pool("local_vstorage", 0),
    ]
    assert [name for name, _, _ in moved(balance(pools, volumes))] == ["moved"]


@pytest.mark.req("B-153", "B-154")
def test_targets_fill_as_volumes_are_planned():
    volumes = [volume(f"v{i}", 10) for i in range(4)]
    pools = [pool("a", 0), pool("b", 45), pool("c", 40)]
    where = [target for _, _, target in moved(balance(pools, volumes))]
    assert sorted(where) == ["h@b#b", "h@b#b", "h@c#c"]


@pytest.mark.req("B-153", "B-154")
def test_over_subscription_is_respected_and_counted():
    pools = [pool("a", 0), pool("b", 90, allocated_gb=85.0)]
    volumes = [volume(f"v{i}", 10) for i in range(3)]
    assert len(moved(balance(pools, volumes))) == 1
    roomy = [pool("a", 0), pool("b", 90, allocated_gb=85.0, max_over_subscription_ratio=2.0)]
    assert len(moved(balance(roomy, volumes))) == 3


@pytest.mark.req("B-153")
def test_a_typed_volume_is_retyped_to_an_otherwise_equal_type():
    types = [
        VolumeTypeRow(name="gold-a", extra_specs={"volume_backend_name": "a", "speed": "high"}),
        VolumeTypeRow(name="gold-b", extra_specs={"volume_backend_name": "b", "speed": "high"}),
        VolumeTypeRow(name="iron-b", extra_specs={"volume_backend_name": "b", "speed": "low"}),
    ]
    volumes = [volume("v", 30, volume_type="gold-a")]
    solution = balance([pool("a", 10), pool("b", 90)], volumes, types)
    assert moved(solution) == [("v", "retype", "gold-b")]


@pytest.mark.req("B-156")
def test_its_planner_knows_volume_migrate():
    solution = balance([pool("a", 10), pool("b", 90)], [volume("v", 30)])
    assert [step.action.action_type for step in plan(solution)] == ["volume_migrate"]


@pytest.mark.req("B-036")
def test_without_a_storage_model_the_audit_fails():
    with pytest.raises(ClusterStateNotDefined, match="storage"):
        run("storage_capacity_balance", (None, MetricsTable()), context={"compute": None})
