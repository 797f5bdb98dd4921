"""Watching a part of a model: whatever happens, the watcher has what the scope and keys leave."""

from __future__ import annotations

import random

import pytest
from notification_builders import a_host, a_server

from trimtab.model.v1 import model_pb2
from trimtab_collector.live_model import Delta, LiveElements, LiveModel
from trimtab_collector.views import view_of, watch_view
from trimtab_collector.watch import WatchLimits
from trimtab_common.domain.changes import (
    RemoveHost,
    RemoveServer,
    SetAggregates,
    UpsertGroup,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup
from trimtab_common.domain.elements import Remove, Upsert
from trimtab_common.domain.errors import InvalidArgument, ResourceExhausted
from trimtab_common.domain.scope import scoped
from trimtab_common.domain.storage import PoolRow, StorageNodeRow, VolumeRow, VolumeTypeRow
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.wire import element_codec
from trimtab_common.wire.element_codec import ElementReader
from trimtab_common.wire.model_codec import change_of
from trimtab_common.wire.snapshot_codec import SnapshotReader

ZONE = [{"compute": [{"availability_zones": [{"name": "z1"}]}]}]
SSD = [{"compute": [{"host_aggregates": [{"name": "ssd"}]}]}]
UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(8)]


class Follower:
    """Takes messages of a part until it is as new as the model."""

    def __init__(self, live, scope, keys=()):
        self.live = live
        limits = WatchLimits(heartbeat_s=0.0)
        self.stream = watch_view(live, view_of(live, scope, keys), limits, SystemClock())
        self.compute = isinstance(live, LiveModel)
        self.model, self.reader, self.reasons, self.deltas = None, None, [], 0

    async def catch_up(self):
        while True:
            message = model_pb2.WatchModelResponse.FromString(await anext(self.stream))
            match message.WhichOneof("event"):
                case "begin":
                    self.reasons.append(message.begin.reason)
                    kind = SnapshotReader if self.compute else ElementReader
                    self.reader = kind(message.begin)
                case "compute":
                    self.reader.add(message.compute)
                case "elements":
                    self.reader.add(message.elements)
                case "end":
                    self.model = self.reader.finish(message.end)
                case "deltas":
                    for delta in message.deltas.deltas:
                        self.deltas += 1
                        of = change_of if self.compute else element_codec.change_of
                        self.model.apply([of(change) for change in delta.changes])
                case "heartbeat":
                    assert message.heartbeat.digest == self.model.digest()
                    if message.heartbeat.position.revision == self.live.model.revision:
                        return


def a_live():
    live = LiveModel(SystemClock())
    hosts = [a_host(name, zone="z1" if name in "ab" else "z2") for name in "abcd"]
    servers = [a_server(key, "abcd"[number % 4]) for number, key in enumerate(UUIDS)]
    rows = [*map(UpsertHost, hosts), *map(UpsertServer, servers)]
    aggregate = Aggregate(id=1, name="ssd", zone=None, hosts=frozenset({"c"}))
    live.publish([Delta(changes=[*rows, SetAggregates((aggregate,))], cause="sync")])
    live.mark_built()
    return live


def publish(live, *changes):
    live.publish([Delta(changes=changes, cause="poll")])


def some_change(rng):
    key, name = rng.choice(UUIDS), rng.choice("abcd")
    return rng.choice(
        [UpsertServer(a_server(key, rng.choice(["a", "b", "c", "d", "", "gone"])))] * 6
        + [
            RemoveServer(key),
            UpsertHost(a_host(name, zone=rng.choice(["z1", "z2"]))),
            UpsertHost(a_host(name, up=False, zone="z1")),
            RemoveHost(name),
            UpsertGroup(ServerGroup(uuid="g", name=key, policy="affinity")),
            SetAggregates(
                (Aggregate(id=1, name="ssd", zone=None, hosts=frozenset(rng.sample("abcd", 2))),)
            ),
        ]
    )


def expected(live, scope, keys):
    hosts = set(scoped(live.snapshot(), scope).snapshot.host_name)
    limits = bool(scope)
    return (
        {r.hostname: r for r in live.model.hosts() if r.hostname in hosts and r.hostname in (keys or hosts)},
        {
            r.uuid: r
            for r in live.model.servers()
            if (not limits or r.hostname in hosts) and (not keys or r.uuid in keys)
        },
    )  # fmt: skip


@pytest.mark.req("C-117")
@pytest.mark.parametrize("scope", [[], ZONE, SSD], ids=["whole", "zone", "aggregate"])
@pytest.mark.parametrize("keys", [(), ("a", "c", *UUIDS[:3])], ids=["all", "keys"])
async def test_a_part_is_what_the_scope_and_keys_leave_whatever_happens(scope, keys):
    for seed in range(6):
        rng, live = random.Random(seed), a_live()
        follower = Follower(live, scope, keys)
        await follower.catch_up()
        for _ in range(60):
            publish(live, *(some_change(rng) for _ in range(rng.randrange(1, 4))))
            if rng.random() < 0.4:
                await follower.catch_up()
        await follower.catch_up()
        hosts, servers = expected(live, scope, keys)
        assert {row.hostname: row for row in follower.model.hosts()} == hosts
        assert {row.uuid: row for row in follower.model.servers()} == servers
        assert follower.deltas


@pytest.mark.req("C-117")
async def test_a_server_that_leaves_the_part_is_removed_and_comes_back():
    live = a_live()
    follower = Follower(live, ZONE)
    await follower.catch_up()
    publish(live, UpsertServer(a_server(UUIDS[0], "c")))
    await follower.catch_up()
    assert follower.model.find_server(UUIDS[0]) is None
    publish(live, UpsertServer(a_server(UUIDS[0], "b")))
    await follower.catch_up()
    assert follower.model.find_server(UUIDS[0]).hostname == "b"
    assert follower.reasons == ["initial"]
    publish(live, UpsertHost(a_host("d", zone="z1")))
    await follower.catch_up()
    assert follower.reasons == ["initial", "part_changed"]
    assert follower.model.find_host("d") is not None


async def test_what_happens_elsewhere_is_not_sent():
    live = a_live()
    follower = Follower(live, ZONE)
    await follower.catch_up()
    for number in range(50):
        publish(live, UpsertServer(a_server(UUIDS[2], "c", name=str(number))))
    await follower.catch_up()
    assert follower.deltas == 0


async def test_a_slow_reader_of_a_part_is_told_so():
    live = a_live()
    live.log.max_behind = 5
    follower = Follower(live, ZONE)
    await follower.catch_up()
    for number in range(20):
        publish(live, UpsertServer(a_server(UUIDS[0], "a", name=str(number))))
    with pytest.raises(ResourceExhausted):
        await follower.catch_up()


async def test_a_scope_that_cannot_be_is_refused():
    with pytest.raises(InvalidArgument):
        view_of(a_live(), "no scope", ())
    both = [
        {
            "compute": [
                {"host_aggregates": [{"id": 1}]},
                {"exclude": [{"host_aggregates": [{"id": 1}]}]},
            ]
        }
    ]
    with pytest.raises(InvalidArgument):
        await Follower(a_live(), both).catch_up()


@pytest.mark.req("C-117")
async def test_a_part_of_the_storage_model_follows():
    live = LiveElements("storage", SystemClock(), named="pool")
    rows = [
        StorageNodeRow(host="s@fast", zone="z1"),
        StorageNodeRow(host="s@slow", zone="z2"),
        PoolRow(name="s@fast#p"),
        PoolRow(name="s@slow#p"),
        VolumeRow(uuid="v1", pool="s@fast#p"),
        VolumeRow(uuid="v2", pool="s@slow#p"),
        VolumeTypeRow(name="fast", extra_specs={"volume_backend_name": "fast"}),
    ]
    live.publish([Delta(changes=[*map(Upsert, rows)], cause="sync")])
    live.mark_built()
    scope = [{"storage": [{"availability_zones": [{"name": "z1"}]}]}]
    follower, one = Follower(live, scope), Follower(live, [], ["v2"])
    await follower.catch_up()
    await one.catch_up()
    counts = {"storage_node": 1, "pool": 1, "volume": 1, "volume_type": 1}
    assert follower.model.counts == counts
    assert one.model.counts == {**dict.fromkeys(counts, 0), "volume": 1}
    publish(live, Upsert(VolumeRow(uuid="v2", pool="s@fast#p")), Remove("volume", "v1"))
    await follower.catch_up()
    await one.catch_up()
    assert [row.uuid for row in follower.model.rows("volume")] == ["v2"]
    assert one.model.find("volume", "v2").pool == "s@fast#p"
    assert follower.reasons == ["initial"]
