"""Notifications among themselves and beside reads of the cloud: nothing lost, nothing undone."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from notification_builders import (
    SERVER,
    Desk,
    a_host,
    a_server,
    aggregate_event,
    enveloped,
    instance_event,
    service_event,
)

from trimtab_collector.compute.full_read import FullRead
from trimtab_collector.compute.sync import ComputeSync, SyncSettings
from trimtab_collector.notifications.rereads import MOST_SERVERS, Rereads
from trimtab_collector.reads import IncrementalRead
from trimtab_common.domain.changes import RemoveServer, SetHealth, UpsertHost, UpsertServer
from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import Unavailable

BEGAN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def at(seconds):
    return (BEGAN + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")


def pause(seconds, *, publisher="nova-compute:a", **fields):
    return (
        instance_event(
            "instance.pause.end", state="paused", timestamp=at(seconds), publisher_id=publisher
        )
        | fields
    )


def unpause(seconds, *, publisher="nova-compute:a", **fields):
    return (
        instance_event("instance.unpause.end", timestamp=at(seconds), publisher_id=publisher)
        | fields
    )


def delete(seconds, kind="instance.delete.end", **fields):
    return instance_event(kind, state="deleted", timestamp=at(seconds), **fields)


# -- order --------------------------------------------------------------------------------------


@pytest.mark.req("C-064")
def test_an_older_event_of_the_same_publisher_is_dropped_and_so_is_a_duplicate():
    desk = Desk(a_host("a"), a_server())
    newer, older = pause(5), unpause(4)
    desk.receive(newer, older)
    assert desk.server().state is ServerState.PAUSED
    revision = desk.model.revision
    desk.receive(newer)
    assert desk.model.revision == revision
    assert desk.wanted() == ([], [])


@pytest.mark.req("C-064")
def test_between_two_publishers_arrival_decides_and_nova_is_asked():
    desk = Desk(a_host("a"), a_server())
    desk.receive(pause(5), unpause(4, publisher="nova-compute:b"))
    assert desk.server().state is ServerState.ACTIVE
    assert desk.wanted() == ([SERVER], [])
    desk.receive(pause(4.5))
    assert desk.server().state is ServerState.ACTIVE  # older than that publisher's own


@pytest.mark.req("C-064")
async def test_a_deleted_server_stays_deleted_for_ten_minutes():
    desk = Desk(a_host("a"), a_server())
    desk.receive(delete(5), instance_event("instance.shutdown.end", timestamp=at(6)), pause(7))
    assert desk.server() is None
    await desk.clock.advance(599)
    desk.receive(pause(8))
    assert desk.server() is None
    await desk.clock.advance(2)
    desk.receive(delete(9, server="00000000-0000-0000-0000-000000000001"))  # sweeps the graves
    desk.receive(pause(10))
    assert desk.server() is not None


@pytest.mark.req("C-064")
def test_a_restored_server_comes_back_but_not_by_an_older_restore():
    desk = Desk(a_host("a"), a_server())
    desk.receive(delete(5, "instance.soft_delete.end"))
    desk.receive(instance_event("instance.restore.end", timestamp=at(4)))
    assert desk.server() is None
    desk.receive(instance_event("instance.restore.end", timestamp=at(6)), pause(7))
    assert desk.server().state is ServerState.PAUSED


def test_what_nova_lists_itself_has_no_grave():
    desk = Desk(a_host("a"), a_server())
    desk.receive(delete(5, "instance.soft_delete.end"))
    desk.inbox.listed([UpsertServer(a_server())])
    desk.receive(pause(7))
    assert desk.server() is not None
    desk.inbox.listed([RemoveServer(SERVER)])
    desk.receive(unpause(8))
    assert desk.server().state is ServerState.PAUSED


def test_a_batch_equals_its_events_one_by_one():
    rng = random.Random(4)
    uuids = [f"00000000-0000-0000-0000-{number:012}" for number in range(6)]
    messages = []
    for second in range(300):
        kind = rng.choice(
            ["instance.pause.end", "instance.create.end", "instance.delete.end"] * 4
            + ["service.update", "service.delete", "aggregate.add_host.end"]
        )
        when = {"timestamp": at(second)}
        if kind.startswith("instance."):
            key = rng.choice(uuids)
            messages.append(instance_event(kind, rng.choice("abc"), server=key, **when))
        elif kind.startswith("service."):
            messages.append(
                service_event(kind, rng.choice("abc"), disabled=rng.random() < 0.5, **when)
            )
        else:
            messages.append(
                aggregate_event(kind, rng.randrange(3), hosts=rng.sample("abc", 2)) | when
            )
    together, alone = (Desk(*map(a_host, "abc")) for _ in range(2))
    together.receive(*messages)
    for message in messages:
        alone.receive(message)
    assert together.model.digest() == alone.model.digest()
    assert together.model.revision <= alone.model.revision
    assert together.wanted() == alone.wanted()


# -- beside reads -------------------------------------------------------------------------------


class FakeCloud:
    """A source whose reads wait until they are let go, and then say what was true at their start."""

    def __init__(self, hosts, servers):
        self.hosts, self.servers = list(hosts), list(servers)
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.full_reads, self.polls, self.elements = 0, 0, []
        self.failing = False

    async def read_all(self, _model):
        self.full_reads += 1
        hosts, servers = list(self.hosts), list(self.servers)
        await self._wait()
        return FullRead(
            hosts=hosts, servers=servers, aggregates=(), health=SetHealth(), since=BEGAN
        )

    async def read_changes(self, _model, since, *, thorough):  # noqa: ARG002, the protocol's name
        self.polls += 1
        changes = [UpsertServer(row) for row in self.servers]
        changes += [UpsertHost(row) for row in self.hosts]
        await self._wait()
        return IncrementalRead(changes=changes, since=since)

    async def read_elements(self, _model, *, servers, hosts):
        self.elements.append((sorted(servers), sorted(hosts)))
        found = [UpsertServer(row) for row in self.servers if row.uuid in servers]
        found += [UpsertHost(row) for row in self.hosts if row.hostname in hosts]
        await self._wait()
        return found

    async def _wait(self):
        self.began.set()
        await self.go.wait()
        if self.failing:
            raise Unavailable("Nova is away")


class Rig(Desk):
    def __init__(self, cloud, *rows, built=True):
        super().__init__(*rows, built=built)
        self.cloud = cloud
        settings = SyncSettings(quiet_poll_interval_s=30, poll_interval_s=2)
        self.sync = ComputeSync(self.live, cloud, self.clock, settings, self.inbox)
        self.rereads = Rereads(self.live, cloud, self.inbox, self.clock)

    async def pass_time(self, seconds):
        """In small steps, so that what runs in the background can go to sleep anew."""
        for _ in range(int(seconds * 4)):
            await self.clock.advance(0)
            await self.clock.advance(0.25)
        await self.clock.advance(0)

    async def during_a_step(self, *messages):
        """Lets these arrive while the sync loop reads the cloud."""
        self.cloud.began.clear()
        self.cloud.go.clear()
        step = asyncio.create_task(self.sync.step())
        await self.cloud.began.wait()
        self.receive(*messages)
        self.cloud.go.set()
        await step


@pytest.mark.req("C-008", "C-044")
async def test_what_arrives_during_the_first_read_is_replayed_on_it():
    other = "00000000-0000-0000-0000-000000000001"
    cloud = FakeCloud([a_host("a"), a_host("b")], [a_server(), a_server(other)])
    rig = Rig(cloud, built=False)
    rig.receive(instance_event("instance.create.end", "a", timestamp=at(-60)))
    assert rig.model.n_servers == 0  # before any read nobody listens
    await rig.during_a_step(
        instance_event("instance.live_migration_post_dest.end", "b", timestamp=at(1)),
        delete(2, server=other),
        service_event("service.update", "a", disabled=True, timestamp=at(3)),
        instance_event("instance.create.end", "new", server=other[:-1] + "2", timestamp=at(4)),
        unpause(-60, server=other),  # from before the read
    )
    assert rig.server().hostname == "b"
    assert rig.server(other) is None
    assert not rig.model.find_host("a").enabled
    assert rig.wanted() == ([], ["new"])
    assert rig.model.revision == 2  # one delta for all, and the mark


@pytest.mark.req("C-008")
async def test_watchers_do_not_wait_for_a_full_read_and_it_undoes_nothing():
    cloud = FakeCloud([a_host("a"), a_host("b")], [a_server()])
    rig = Rig(cloud, a_host("a"), a_host("b"), a_server())
    cloud.go.clear()
    step = asyncio.create_task(rig.sync.step())
    await cloud.began.wait()
    rig.receive(instance_event("instance.live_migration_post_dest.end", "b", timestamp=at(1)))
    assert rig.server().hostname == "b"
    revision = rig.model.revision
    cloud.go.set()
    await step
    assert rig.server().hostname == "b"
    assert rig.model.revision == revision


@pytest.mark.req("C-008")
@pytest.mark.parametrize("what", ["poll", "full"])
async def test_a_read_does_not_undo_what_an_event_said_meanwhile(what):
    cloud = FakeCloud([a_host("a"), a_host("b")], [a_server()])
    rig = Rig(cloud)
    await rig.during_a_step()
    if what == "full":
        rig.inbox.ask_resync()
    await rig.during_a_step(
        delete(5), service_event("service.update", "b", disabled=True, timestamp=at(5))
    )
    assert rig.server() is None
    assert not rig.model.find_host("b").enabled
    assert (cloud.full_reads, cloud.polls) == ((2, 0) if what == "full" else (1, 1))


@pytest.mark.req("C-008", "C-032")
async def test_sizes_that_a_poll_brought_beside_an_event_of_the_host_are_read_again():
    cloud = FakeCloud([a_host("a", capacity_from_nova=True), a_host("b")], [])
    rig = Rig(cloud)
    await rig.during_a_step()
    cloud.hosts = [a_host("a", inventory=(16, 2048, 200)), a_host("b")]  # Placement answers again
    await rig.during_a_step(service_event("service.update", "a", disabled=True, timestamp=at(5)))
    assert rig.model.find_host("a").capacity_from_nova  # what the poll said of it is older
    assert rig.wanted() == ([], ["a"])
    rig.inbox.wanted.add((), ["a"])
    cloud.began.clear()
    cloud.go.clear()
    again = asyncio.create_task(rig.rereads.step())
    await cloud.began.wait()
    rig.receive(service_event("service.update", "a", disabled=False, timestamp=at(6)))
    cloud.go.set()
    await again
    assert rig.wanted() == ([], ["a"])  # and again, until no event comes between
    rig.inbox.wanted.add((), ["a"])
    await rig.rereads.step()
    assert rig.model.find_host("a") == a_host("a", inventory=(16, 2048, 200))
    assert rig.wanted() == ([], [])


async def test_events_from_before_a_full_read_are_dropped_after_it():
    rig = Rig(FakeCloud([a_host("a")], [a_server(state=ServerState.STOPPED)]), built=False)
    await rig.during_a_step()
    rig.receive(pause(-1))
    assert rig.server().state is ServerState.STOPPED
    rig.receive(pause(1))
    assert rig.server().state is ServerState.PAUSED


async def test_a_resync_is_asked_for_until_a_read_that_began_later_succeeds():
    cloud = FakeCloud([a_host("a")], [])
    rig = Rig(cloud)
    await rig.during_a_step()
    rig.inbox.connected()
    cloud.failing = True
    await rig.during_a_step()
    cloud.failing = False
    cloud.began.clear()
    cloud.go.clear()
    step = asyncio.create_task(rig.sync.step())
    await cloud.began.wait()
    rig.inbox.ask_resync()  # too late for this one
    cloud.go.set()
    await step
    await rig.during_a_step()
    await rig.during_a_step()
    assert (cloud.full_reads, cloud.polls) == (4, 1)


@pytest.mark.req("C-061")
async def test_polls_are_rare_while_notifications_flow_and_frequent_again_at_once():
    cloud = FakeCloud([a_host("a")], [])
    cloud.go.set()
    rig = Rig(cloud)
    running = asyncio.create_task(rig.sync.run())
    await rig.pass_time(1)
    rig.inbox.connected()
    await rig.pass_time(9)
    assert (cloud.full_reads, cloud.polls) == (2, 4)  # connected, but nothing heard yet
    rig.receive(instance_event("instance.create.end", "a"))
    await rig.pass_time(2)
    before = cloud.polls
    await rig.pass_time(59)
    assert cloud.polls - before in (1, 2)
    rig.inbox.disconnected()
    await rig.pass_time(6)
    assert cloud.polls - before >= 4
    running.cancel()


# -- re-reads -----------------------------------------------------------------------------------


@pytest.mark.req("C-058", "C-062")
async def test_a_host_is_asked_for_ever_more_rarely_until_it_is_there():
    cloud = FakeCloud([], [])
    cloud.go.set()
    rig = Rig(cloud, a_host("a"))
    running = asyncio.create_task(rig.rereads.run())
    rig.receive(service_event("service.create", "new"))
    await rig.pass_time(1)
    assert cloud.elements == [([], ["new"])]
    await rig.pass_time(14)
    assert len(cloud.elements) == 4
    cloud.hosts.append(a_host("new"))
    await rig.pass_time(60)
    assert len(cloud.elements) == 5
    assert rig.model.find_host("new") is not None
    running.cancel()


@pytest.mark.req("C-064")
async def test_a_doubtful_server_is_read_again_within_two_seconds():
    cloud = FakeCloud([a_host("a")], [a_server(state=ServerState.STOPPED)])
    cloud.go.set()
    rig = Rig(cloud, a_host("a"), a_server())
    running = asyncio.create_task(rig.rereads.run())
    await rig.pass_time(1)
    rig.receive(pause(5), unpause(4, publisher="nova-compute:b"))
    await rig.pass_time(2)
    assert rig.server().state is ServerState.STOPPED
    running.cancel()


async def test_an_event_beats_a_reread_under_way():
    cloud = FakeCloud([a_host("a")], [a_server(state=ServerState.STOPPED)])
    rig = Rig(cloud, a_host("a"), a_server())
    rig.inbox.wanted.add([SERVER], [])
    step = asyncio.create_task(rig.rereads.step())
    await cloud.began.wait()
    rig.receive(pause(5))
    cloud.go.set()
    await step
    assert rig.server().state is ServerState.PAUSED


async def test_rereads_go_on_while_nova_is_away_and_end():
    cloud = FakeCloud([], [])
    cloud.go.set()
    cloud.failing = True
    rig = Rig(cloud, a_host("a"))
    running = asyncio.create_task(rig.rereads.run())
    rig.inbox.wanted.add([SERVER], ["a"])
    await rig.pass_time(300)
    assert cloud.elements == [([SERVER], ["a"])] * 6
    running.cancel()


async def test_too_many_doubts_are_one_full_read():
    rig = Rig(FakeCloud([], []))
    rig.inbox.wanted.add([str(number) for number in range(MOST_SERVERS + 1)], [])
    await rig.rereads.step()
    assert rig.inbox.resyncs_asked == 1
    assert rig.cloud.elements == []


# -- cost ---------------------------------------------------------------------------------------


def seconds_per_event(n_servers, events):
    uuids = [str(uuid.UUID(int=number)) for number in range(n_servers)]
    hosts = [a_host(f"h{number}") for number in range(100)]
    desk = Desk(*hosts, *(a_server(key, f"h{i % 100}") for i, key in enumerate(uuids)))
    bodies = [
        enveloped(
            instance_event(
                "instance.live_migration_post_dest.end",
                f"h{number * 13 % 100}",
                server=uuids[number * 7 % n_servers],
                timestamp=at(number),
            )
        )
        for number in range(events)
    ]
    began = time.process_time()
    for number in range(0, events, 50):
        desk.inbox.receive(bodies[number : number + 50])
    return (time.process_time() - began) / events


@pytest.mark.req("C-013", "C-067")
def test_an_event_costs_the_same_in_a_large_model_and_two_thousand_fit_a_second():
    large = min(seconds_per_event(20_000, 2_000) for _ in range(2))
    small = min(seconds_per_event(200, 2_000) for _ in range(2))
    assert large < 1 / 2_000  # measured: 1/16,000
    assert large < 5 * small
