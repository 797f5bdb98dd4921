"""How the compute model is read: at once, in steps, within a time, a few hosts at a time (C-040)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from test_compute_rows import (
    FakeNova,
    FakePlacement,
    a_hypervisor,
    a_reader,
    a_server,
    a_service,
)

from trimtab_collector.compute.loading import Loaded, LoadScope
from trimtab_collector.compute.reading import ComputeReader
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.compute_terms import Aggregate
from trimtab_common.domain.errors import DeadlineExceeded


@pytest.mark.req("C-040", "C-043")
async def test_no_more_inventories_are_read_at_once_than_there_are_general_workers():
    reader, nova, placement = a_reader()
    nova.hypervisor_list = [a_hypervisor(f"h{i}") for i in range(50)]
    await reader.read_all(ComputeModel())
    assert placement.most == 4


class Gated(FakeNova, FakePlacement):
    """A cloud of which a test says who answers when; keeps the order of questions."""

    def __init__(self, hosts):
        FakeNova.__init__(self)
        FakePlacement.__init__(self)
        self.hypervisor_list = [a_hypervisor(name) for name in hosts]
        self.service_list = [a_service(name) for name in hosts]
        self.server_list = [a_server(n, host=name) for n, name in enumerate([*hosts, *hosts])]
        self.aggregate_list = (Aggregate(id=1, name="all", zone=None, hosts=frozenset(hosts)),)
        self.asked, self.gates, self.cancelled = [], {}, []

    async def _pass(self, what):
        self.asked.append(what)
        if what in self.gates:
            try:
                await self.gates[what].wait()
            except asyncio.CancelledError:
                self.cancelled.append(what)
                raise

    async def services(self):
        await self._pass("services")
        return await super().services()

    async def aggregates(self):
        await self._pass("aggregates")
        return await super().aggregates()

    async def inventories(self, provider):
        await self._pass(f"inventory {provider.removeprefix('uuid-')}")
        return await super().inventories(provider)

    async def servers(self, changed_since=None, *, host=""):
        await self._pass(f"servers {host}")
        async for page in super().servers(changed_since, host=host):
            yield page


def scoped_reader(cloud, **options):
    loaded = Loaded(LoadScope(aggregates=frozenset({1})))
    return ComputeReader(cloud, cloud, loaded=loaded, **options)


@pytest.mark.req("B-067")
async def test_a_part_is_read_in_three_steps_that_overlap():
    cloud = Gated(["h1", "h2"])
    for name in ("services", "aggregates", "inventory h2", "servers h1"):
        cloud.gates[name] = asyncio.Event()
    reading = asyncio.create_task(scoped_reader(cloud).read_all(ComputeModel()))
    await quiet()
    assert cloud.asked == ["services", "aggregates"]  # both at once, and no host before them
    cloud.gates["services"].set()
    cloud.gates["aggregates"].set()
    await quiet()
    assert set(cloud.asked[2:]) == {"inventory h1", "inventory h2", "servers h1"}
    cloud.gates["servers h1"].set()
    cloud.gates["inventory h2"].set()
    read = await asyncio.wait_for(reading, 5)
    assert cloud.asked[-1] == "servers h2"
    assert {row.hostname for row in read.hosts} == {"h1", "h2"}
    assert len(read.servers) == 4


@pytest.mark.req("B-067", "C-040")
@pytest.mark.parametrize("scoped", [True, False])
async def test_many_workers_build_what_one_builds(scoped):
    reads = []
    for workers in (1, 4, 16):
        cloud = Gated([f"h{n}" for n in range(23)])
        make = scoped_reader if scoped else lambda c, **o: ComputeReader(c, c, **o)
        read = await make(cloud, at_once=workers).read_all(ComputeModel())
        assert cloud.most == workers
        reads.append(ComputeModel.from_rows(read.hosts, read.servers))
        assert (reads[-1].n_hosts, reads[-1].n_servers) == (23, 46)
    assert len({model.digest() for model in reads}) == 1


@pytest.mark.req("C-040")
@pytest.mark.parametrize("stuck", ["services", "inventory h2", "servers h2"])
async def test_a_step_that_takes_too_long_fails_the_read_and_cancels_the_rest(stuck):
    cloud = Gated(["h1", "h2", "h3"])
    cloud.gates = {stuck: asyncio.Event(), "servers h3": asyncio.Event()}
    with pytest.raises(DeadlineExceeded, match="not complete within"):
        await scoped_reader(cloud, timeout_s=0.05).read_all(ComputeModel())
    assert stuck in cloud.cancelled
    assert stuck == "services" or "servers h3" in cloud.cancelled


async def quiet():
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.req("C-041")
async def test_a_host_is_looked_up_by_its_whole_name_and_by_its_services_before_its_own():
    """Nova's filter by name would find compute10 for compute1; ours never looks at parts."""
    reader, nova, _ = a_reader()
    nova.hypervisor_list = [
        a_hypervisor("compute10"),
        a_hypervisor("compute1"),
        replace(a_hypervisor("other"), hostname="compute1"),
    ]
    nova.service_list = [a_service(name) for name in ("compute10", "compute1", "other")]
    (found,) = await reader.read_elements(ComputeModel(), servers=[], hosts=["compute1"])
    assert found.row.uuid == "uuid-compute1"
    assert await reader.read_elements(ComputeModel(), servers=[], hosts=["compute"]) == []
