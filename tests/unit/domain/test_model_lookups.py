"""What is found in the models by an index: its answers, and that its cost is that of the answer (C-024)."""

from __future__ import annotations

import random
import time
import uuid

import pytest

from trimtab_common.domain.baremetal import NODE as MACHINE
from trimtab_common.domain.baremetal import BaremetalNodeRow, baremetal_model
from trimtab_common.domain.changes import (
    HostRow,
    RemoveHost,
    RemoveServer,
    ServerRow,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.elements import Remove, Upsert
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.storage import (
    NODE,
    POOL,
    VOLUME,
    PoolRow,
    StorageNodeRow,
    VolumeRow,
    node_of,
    storage_model,
)

HOSTS = [f"s@{name}" for name in "abc"]
POOLS = [f"{host}#{number}" for host in HOSTS for number in range(2)]


def key(number):
    return str(uuid.UUID(int=number))


def random_change(rng):
    """Any change of a small storage model; pools come and go under their volumes."""
    volume, pool, host = f"v{rng.randrange(12)}", rng.choice(POOLS), rng.choice(HOSTS)
    row = rng.choice(
        [VolumeRow(uuid=volume, pool=rng.choice([*POOLS, "", "gone#x"])), PoolRow(name=pool),
         StorageNodeRow(host=host)]
    )  # fmt: skip
    if rng.random() < 0.7:
        return Upsert(row)
    return Remove(row.KIND, row.key)


@pytest.mark.req("C-022", "C-024")
def test_storage_is_found_by_index_as_a_plain_search_finds_it():
    for seed in range(60):
        rng, model = random.Random(seed), storage_model()
        for _ in range(80):
            model.apply([random_change(rng)])
        volumes, pools = list(model.rows(VOLUME)), list(model.rows(POOL))
        for pool in [*POOLS, "gone#x", ""]:
            found = [row.uuid for row in model.volumes_of(pool)]
            assert found == sorted(row.uuid for row in volumes if row.pool == pool)
            assert model.find_node(pool) == model.find(NODE, node_of(pool))
        for host in HOSTS:
            names = sorted(row.name for row in pools if node_of(row.name) == host)
            assert [row.name for row in model.pools_of(host)] == names
            assert [row.name for row in model.pools_of(f"{host}#1")] == names
        for row in volumes:
            assert model.find_pool_of(row.uuid) == model.find(POOL, row.pool)
        assert model.find_pool_of("nobody") is None
        assert model.counts == {
            NODE: len(list(model.rows(NODE))), POOL: len(pools), VOLUME: len(volumes),
            "volume_type": 0,
        }  # fmt: skip


@pytest.mark.req("C-022")
def test_what_is_mapped_is_mapped_once_and_unmapped_by_an_empty_name():
    model = storage_model()
    volume = VolumeRow(uuid="v", pool=POOLS[0])
    changes = [Upsert(PoolRow(name=POOLS[0])), Upsert(volume), Upsert(volume)]
    assert model.apply(changes) == 2
    assert model.volumes_of(POOLS[0]) == [volume]
    model.apply([Upsert(VolumeRow(uuid="v", pool=""))])
    assert model.volumes_of(POOLS[0]) == []
    assert model.find(VOLUME, "v") is not None
    assert model.apply([Remove(VOLUME, "v"), Remove(VOLUME, "v")]) == 1


@pytest.mark.req("C-022", "C-018")
def test_machines_are_added_found_and_removed_and_nothing_else():
    model = baremetal_model()
    rows = [BaremetalNodeRow(uuid=name) for name in "ab"]
    model.apply(map(Upsert, rows))
    assert list(model.rows(MACHINE)) == rows
    assert model.find(MACHINE, "a") == rows[0]
    model.apply([Remove(MACHINE, "a")])
    assert model.find(MACHINE, "a") is None
    with pytest.raises(InvalidArgument, match="has no volume"):
        model.apply([Upsert(VolumeRow(uuid="v"))])


@pytest.mark.req("C-024")
def test_servers_of_a_project_and_hosts_by_uuid_are_found_as_a_plain_search_finds_them():
    for seed in range(40):
        rng, model = random.Random(seed), ComputeModel()
        for step in range(120):
            if step == 40:
                model.servers_of_project("p0")  # the index is made in the middle of the life
            name, number = f"h{rng.randrange(5)}", rng.randrange(15)
            row = ServerRow(
                uuid=key(number), name="", hostname=name, demand=(1, 1, 1),
                project_id=f"p{rng.randrange(3)}",
            )  # fmt: skip
            host = HostRow(uuid=f"u{rng.randrange(9)}-{name}", hostname=name, inventory=(1, 1, 1))
            model.apply(
                [rng.choice([UpsertServer(row), UpsertServer(row), RemoveServer(row.uuid),
                             UpsertHost(host), UpsertHost(host), RemoveHost(name)])]
            )  # fmt: skip
        servers, hosts = list(model.servers()), list(model.hosts())
        for project in ("p0", "p1", "p2", "nobody"):
            there = {row.uuid for row in servers if row.project_id == project}
            assert model.servers_of_project(project) == there
        for row in hosts:
            assert model.find_host_by_uuid(row.uuid) == row
        for number in range(9):
            for name in ("h0", "h1"):
                wanted = [row for row in hosts if row.uuid == f"u{number}-{name}"]
                assert model.find_host_by_uuid(f"u{number}-{name}") == (wanted or [None])[0]


@pytest.mark.req("C-024")
def test_a_look_up_costs_as_much_in_a_model_a_hundred_times_as_large():
    """With a search through everything the large model would take a hundred times as long."""

    def cpu_of_look_ups(factor):
        storage, compute = storage_model(), ComputeModel()
        pools = [f"s@{n}#p" for n in range(10 * factor)]
        storage.apply([Upsert(PoolRow(name=name)) for name in pools])
        storage.apply(
            [Upsert(VolumeRow(uuid=f"v{n}", pool=pools[n // 10])) for n in range(100 * factor)]
        )
        compute.apply(
            [
                *(UpsertHost(HostRow(uuid=f"u{n}", hostname=f"h{n}", inventory=(1, 1, 1)))
                  for n in range(10 * factor)),
                *(UpsertServer(ServerRow(uuid=key(n), name="", hostname=f"h{n // 10}",
                                         demand=(1, 1, 1), project_id=f"p{n // 10}"))
                  for n in range(100 * factor)),
            ]
        )  # fmt: skip
        compute.servers_of_project("")
        best = float("inf")
        for _ in range(5):
            began = time.process_time()
            for n in range(200):
                storage.volumes_of(pools[n % 10])
                storage.pools_of(f"s@{n % 10}")
                storage.find_pool_of(f"v{n % 100}")
                compute.servers_of_project(f"p{n % 10}")
                compute.servers_on(f"h{n % 10}")
                compute.find_host_by_uuid(f"u{n % 10}")
                compute.find_host(f"h{n % 10}")
                compute.find_server(key(n % 100))
            best = min(best, time.process_time() - began)
        return best

    assert cpu_of_look_ups(100) < 5 * cpu_of_look_ups(1)
