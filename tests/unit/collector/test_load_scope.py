"""What is read of the cloud: nothing unasked, what a request needs, and never less than before."""

from __future__ import annotations

import asyncio

import pytest
from notification_builders import instance_event
from test_compute_rows import FakeNova, FakePlacement, a_hypervisor, a_server, a_service

from trimtab_collector.compute.loader import Loader
from trimtab_collector.compute.loading import EVERYTHING, Loaded, LoadScope
from trimtab_collector.compute.reading import ComputeReader
from trimtab_collector.compute.sync import ComputeSync, SyncSettings
from trimtab_collector.live_model import LiveModel
from trimtab_collector.notifications.inbox import Inbox
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup
from trimtab_common.domain.errors import StaleModel, Unavailable
from trimtab_common.runtime.clock import FakeClock


def zone(name):
    return [{"compute": [{"availability_zones": [{"name": name}]}]}]


def aggregate(**key):
    return [{"compute": [{"host_aggregates": [key]}]}]


class Rig:
    """Four hosts in two zones and an aggregate of h1 and h4; a collector that loads on request."""

    def __init__(self, loaded=None):
        self.nova, placement, clock = FakeNova(), FakePlacement(), FakeClock()
        names = ["h1", "h2", "h3", "h4"]
        self.nova.hypervisor_list = [a_hypervisor(name) for name in names]
        self.nova.service_list = [
            a_service(name, zone=f"az{1 + number // 2}") for number, name in enumerate(names)
        ]
        self.nova.server_list = [a_server(i, host=name) for i, name in enumerate(names)]
        self.nova.server_list.append(a_server(9, host=""))
        self.nova.aggregate_list = (
            Aggregate(id=7, name="ssd", zone=None, hosts=frozenset({"h1", "h4"})),
        )
        loaded = loaded or Loaded(None)
        self.reader = ComputeReader(self.nova, placement, loaded=loaded)
        self.live = LiveModel(clock)
        self.inbox = Inbox(self.live, clock, admits=loaded.admits)
        self.sync = ComputeSync(
            self.live, self.reader, clock, SyncSettings(), self.inbox, loaded=loaded
        )
        self.loader = Loader(self.live, self.reader, self.sync, self.inbox)
        self.task = None

    async def __aenter__(self):
        self.task = asyncio.create_task(self.sync.run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def ask(self, scope):
        self.nova.lists.clear()
        await self.loader.load(LoadScope.of(scope))

    @property
    def hosts(self):
        return sorted(row.hostname for row in self.live.model.hosts())

    @property
    def servers(self):
        return sorted(int(row.uuid[-12:]) for row in self.live.model.servers())


@pytest.mark.req("C-044", "A-109")
async def test_nothing_is_read_before_somebody_asks_and_events_are_ignored_until_then():
    async with Rig() as rig:
        rig.inbox.receive([b"{}"])
        assert (rig.nova.lists, rig.live.built) == ([], False)
        with pytest.raises(StaleModel, match="not defined"):
            rig.live.snapshot()
        await rig.ask([])
        assert rig.hosts == ["h1", "h2", "h3", "h4"]
        assert rig.servers == [0, 1, 2, 3, 9]
        assert rig.nova.lists == [""]  # one bulk list


@pytest.mark.req("C-045", "C-038", "A-109")
async def test_the_four_cases():
    async with Rig() as rig:
        await rig.ask(zone("az1"))  # no model, a scope: the scoped hosts
        assert (rig.hosts, rig.servers) == (["h1", "h2"], [0, 1])
        assert sorted(rig.nova.lists) == ["h1", "h2"]
        await rig.ask(aggregate(id=7))  # one host is missing, and only that is read
        assert (rig.hosts, rig.servers) == (["h1", "h2", "h4"], [0, 1, 3])
        assert rig.nova.lists == ["h4"]
        await rig.ask(aggregate(name="ssd"))  # all there
        await rig.ask(zone("az1"))
        assert rig.nova.lists == []
        await rig.ask([])  # not all hosts are there
        assert rig.hosts == ["h1", "h2", "h3", "h4"]
        assert rig.nova.lists == [""]
        await rig.ask([])  # all are
        await rig.ask(zone("az2"))
        assert rig.nova.lists == []


@pytest.mark.req("C-046")
async def test_what_is_loaded_stays_in_later_reads():
    async with Rig() as rig:
        await rig.ask(zone("az1"))
        await rig.ask(aggregate(id=7))
        revision = rig.live.model.revision
        await rig.sync.refresh()
        assert rig.hosts == ["h1", "h2", "h4"]
        assert rig.live.model.revision == revision


@pytest.mark.req("C-047")
async def test_two_requests_at_once_each_get_their_hosts():
    async with Rig() as rig:
        await asyncio.gather(rig.ask(zone("az1")), rig.ask(aggregate(id=7)))
        assert set(rig.hosts) >= {"h1", "h2", "h4"}
        await asyncio.gather(rig.ask(zone("az2")), rig.ask(aggregate(name="ssd")))
        assert rig.hosts == ["h1", "h2", "h3", "h4"]


@pytest.mark.req("C-048", "C-099")
async def test_exclusions_limit_nothing_that_is_read():
    rules = [{"exclude": [{"instances": [{"uuid": "x"}], "compute_nodes": [{"name": "h1"}]}]}]
    assert LoadScope.of([{"compute": rules}]) == EVERYTHING
    async with Rig() as rig:
        await rig.ask([{"compute": [*zone("az1")[0]["compute"], *rules]}])
        assert rig.hosts == ["h1", "h2"]


@pytest.mark.req("C-039")
async def test_a_scope_of_no_host_is_an_empty_model_and_not_the_whole_cloud():
    async with Rig() as rig:
        await rig.ask(zone("nowhere"))
        assert rig.live.built
        assert (rig.hosts, rig.servers) == ([], [])


@pytest.mark.parametrize("wildcard", [zone("*"), aggregate(id="*"), aggregate(name="*")])
@pytest.mark.req("C-038")
async def test_a_wildcard_is_all_zones_or_all_aggregates(wildcard):
    async with Rig() as rig:
        await rig.ask(wildcard)
        whole = ["h1", "h2", "h3", "h4"]
        assert rig.hosts == (whole if wildcard == zone("*") else ["h1", "h4"])


@pytest.mark.req("C-066")
async def test_polls_and_events_keep_to_what_is_loaded():
    async with Rig() as rig:
        await rig.ask(zone("az1"))
        rig.nova.server_list[0] = a_server(0, host="h3")  # it moved away
        rig.nova.server_list[3] = a_server(3, host="h2")  # and this one here
        await rig.sync.step()
        assert (rig.hosts, rig.servers) == (["h1", "h2"], [1, 3])
        rig.inbox.receive([])


async def test_a_host_that_comes_into_a_loaded_zone_is_read():
    async with Rig() as rig:
        await rig.ask(zone("az1"))
        rig.nova.service_list[2] = a_service("h3", zone="az1")
        for _ in range(SyncSettings().thorough_every):
            await rig.sync.step()
        assert (rig.hosts, rig.servers) == (["h1", "h2", "h3"], [0, 1, 2])


async def test_a_failed_load_changes_nothing_and_can_be_repeated():
    async with Rig() as rig:
        await rig.ask(zone("az1"))
        placement, away = rig.reader, RuntimeError

        async def broken(_model, _names):
            raise Unavailable("Nova is away")

        read, placement.read_hosts = placement.read_hosts, broken
        with pytest.raises(Unavailable):
            await rig.ask(zone("az2"))
        assert rig.hosts == ["h1", "h2"]
        placement.read_hosts = read
        await rig.ask(zone("az2"))
        assert rig.hosts == ["h1", "h2", "h3", "h4"]
        assert away


async def test_what_collector_loads_at_start_serves_every_scope():
    async with Rig(Loaded()) as rig:
        await rig.sync.refresh()
        await rig.ask(zone("az1"))
        assert rig.nova.lists == []
        assert rig.hosts == ["h1", "h2", "h3", "h4"]


# -- server groups ------------------------------------------------------------------------------


@pytest.mark.req("C-037", "B-058")
async def test_server_groups_come_with_a_full_read_and_follow_thorough_polls():
    rig = Rig(Loaded())
    group = ServerGroup(uuid="g", name="g", policy="affinity", members=frozenset({"x"}))
    rig.nova.group_list = [group]
    await rig.sync.step()
    assert rig.live.model.snapshot().groups == (group,)
    rig.nova.group_list = []
    for _ in range(SyncSettings().thorough_every):
        await rig.sync.step()
    assert rig.live.model.snapshot().groups == ()


async def test_a_nova_that_shows_no_server_groups_leaves_what_is_known():
    rig = Rig(Loaded())
    rig.nova.group_list = None
    await rig.sync.step()
    assert rig.live.built


@pytest.mark.req("C-054")
async def test_a_task_state_is_read_as_in_flux():
    rig = Rig(Loaded())
    rig.nova.server_list[1] = a_server(1, host="h2", task_state="migrating")
    await rig.sync.step()
    assert rig.live.model.snapshot().server_in_flux.tolist() == [False, True, False, False, False]
    event = instance_event("instance.lock", server=rig.nova.server_list[1].uuid)
    assert event["payload"]["nova_object.data"]["task_state"] is None


# -- what breaks --------------------------------------------------------------------------------


async def test_whatever_a_read_raises_the_loop_goes_on_and_askers_hear_of_it():
    async with Rig(Loaded()) as rig:
        read = rig.reader.read_all

        async def broken(_model):
            raise KeyError("what is this")

        rig.reader.read_all = broken
        with pytest.raises(Unavailable, match="KeyError"):
            await rig.sync.refresh()
        rig.reader.read_all = read
        await rig.sync.refresh()
        assert rig.live.built
