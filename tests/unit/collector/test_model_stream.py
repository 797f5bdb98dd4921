"""The model's stream: ordered, unique, atomic, resumable, bounded."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import aclosing, asynccontextmanager

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_collector.delta_log import DeltaLog, Token
from trimtab_collector.live_model import Delta, LiveModel
from trimtab_collector.servicer import SERVICE, ModelServicer, Served, add_model_service
from trimtab_collector.watch import WatchLimits, watch
from trimtab_common.domain.changes import (
    HostRow,
    RemoveServer,
    ServerRow,
    SetHealth,
    UpsertHost,
    UpsertServer,
    host_rows,
    server_rows,
)
from trimtab_common.domain.compute import DIGEST_AT_ONCE
from trimtab_common.domain.errors import InvalidArgument, ResourceExhausted, StaleModel
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.clock import FakeClock, SystemClock
from trimtab_common.runtime.service import Service
from trimtab_common.runtime.settings import CommonSettings
from trimtab_common.wire.model_codec import change_of
from trimtab_common.wire.replica import ModelReplica
from trimtab_common.wire.snapshot_codec import SnapshotReader

QUICK = WatchLimits(heartbeat_s=0.001)


def a_host(number):
    return HostRow(uuid=str(uuid.UUID(int=number)), hostname=f"h{number}", inventory=(8, 64, 100))


def a_server(number, hostname="h1", **fields):
    fields = {"name": f"vm{number}"} | fields
    key = str(uuid.UUID(int=number))
    return ServerRow(uuid=key, hostname=hostname, demand=(1, 1, 1), **fields)


def a_live_model(log=None, clock=None, *, built=True):
    live = LiveModel(clock or FakeClock(), log=log, epoch="e")
    live.publish([Delta(changes=[UpsertHost(a_host(1)), UpsertHost(a_host(2))], cause="sync")])
    if built:
        live.mark_synced(full=True)
        live.mark_built()
    return live


def publish(live, *changes):
    return live.publish([Delta(changes=changes, cause="poll")])


class Reader:
    """The least that a client must do: replace on a snapshot, apply deltas, keep the token."""

    def __init__(self):
        self.model, self.token, self.reasons, self.revisions = None, None, [], []

    def take(self, data):
        message = model_pb2.WatchModelResponse.FromString(data)
        match message.WhichOneof("event"):
            case "begin":
                self.part = SnapshotReader(message.begin)
                self.reasons.append(message.begin.reason)
            case "compute":
                self.part.add(message.compute)
            case "end":
                self.model = self.part.finish(message.end)
            case "deltas":
                for delta in message.deltas.deltas:
                    assert self.model.apply([change_of(change) for change in delta.changes])
                    self.revisions.append(int(delta.position.revision))
            case "heartbeat":
                assert message.heartbeat.digest == self.model.digest()
        self.token = Token.parse(message.resume_token)
        return message.WhichOneof("event")

    async def read_to_heartbeat(self, live):
        async with aclosing(watch(live, self.token, QUICK, SystemClock())) as stream:
            async for data in stream:
                if self.take(data) == "heartbeat":
                    break
        return self

    def assert_equals(self, live):
        assert host_rows(self.model.snapshot()) == host_rows(live.snapshot())
        assert server_rows(self.model.snapshot()) == server_rows(live.snapshot())


async def test_a_watch_gives_a_snapshot_then_deltas_then_heartbeats():
    live = a_live_model()
    reader = Reader()
    async with aclosing(watch(live, None, QUICK, SystemClock())) as stream:
        seen = [reader.take(await anext(stream)) for _ in range(4)]
        publish(live, UpsertServer(a_server(1)))
        seen.append(reader.take(await anext(stream)))
        seen.append(reader.take(await anext(stream)))
    assert seen == ["begin", "compute", "end", "heartbeat", "deltas", "heartbeat"]
    reader.assert_equals(live)


async def test_a_stream_with_many_deltas_has_heartbeats_too():
    live = a_live_model()
    reader = await Reader().read_to_heartbeat(live)
    seen = []

    async def read():
        async for data in watch(live, reader.token, WatchLimits(heartbeat_s=0.02), SystemClock()):
            seen.append(reader.take(data))  # noqa: PERF401, the list is looked at meanwhile

    reading = asyncio.create_task(read())
    async with asyncio.timeout(10):
        number = 0
        while seen.count("heartbeat") < 3:
            publish(live, UpsertServer(a_server(number := number + 1)))
            await asyncio.sleep(0.005)  # four deltas fall between two heartbeats
    reading.cancel()
    assert seen.count("deltas") > 3


async def test_a_token_gives_only_what_was_missed():
    live = a_live_model()
    reader = await Reader().read_to_heartbeat(live)
    for number in range(1, 4):
        publish(live, UpsertServer(a_server(number)))
    await reader.read_to_heartbeat(live)
    assert reader.reasons == ["initial"]
    assert reader.revisions == [3, 4, 5]
    reader.assert_equals(live)


@pytest.mark.parametrize(
    ("token", "reason"),
    [(Token("other", 2), "epoch_changed"), (Token("e", 999), "epoch_changed"),
     (Token("e", 0), "token_too_old")],
)  # fmt: skip
async def test_a_token_that_is_not_known_any_more_gives_a_fresh_snapshot(token, reason):
    live = a_live_model(log=DeltaLog(max_entries=2))
    for number in range(1, 5):
        publish(live, UpsertServer(a_server(number)))
    reader = Reader()
    reader.token = token
    await reader.read_to_heartbeat(live)
    assert reader.reasons == [reason]
    reader.assert_equals(live)


async def test_half_a_snapshot_cannot_be_resumed():
    live = a_live_model()
    reader = Reader()
    async with aclosing(watch(live, None, QUICK, SystemClock())) as stream:
        reader.take(await anext(stream))
    await reader.read_to_heartbeat(live)
    assert reader.reasons == ["initial", "token_too_old"]


@pytest.mark.req("C-118")
async def test_a_slow_reader_is_told_and_its_token_is_still_good():
    live = a_live_model(log=DeltaLog(max_entries=20, max_behind=5))
    reader = await Reader().read_to_heartbeat(live)
    async with aclosing(watch(live, reader.token, QUICK, SystemClock())) as stream:
        reader.take(await anext(stream))
        for number in range(1, 10):
            publish(live, UpsertServer(a_server(number)))
        with pytest.raises(ResourceExhausted, match="9 changes behind"):
            await anext(stream)
    assert live.log.next_after(reader.token.revision) is not None


@pytest.mark.req("C-118")
async def test_a_reader_that_comes_back_far_behind_gets_all_it_missed_and_is_not_refused_again():
    live = a_live_model(log=DeltaLog(max_entries=40, max_behind=5))
    reader = await Reader().read_to_heartbeat(live)
    for number in range(1, 21):
        publish(live, UpsertServer(a_server(number)))
    await reader.read_to_heartbeat(live)
    assert (reader.reasons, len(reader.revisions)) == (["initial"], 20)
    reader.assert_equals(live)


async def test_a_reader_that_catches_up_may_not_fall_behind_again():
    live = a_live_model(log=DeltaLog(max_entries=40, max_behind=5))
    reader = await Reader().read_to_heartbeat(live)
    for number in range(1, 21):
        publish(live, UpsertServer(a_server(number)))
    async with aclosing(watch(live, reader.token, QUICK, SystemClock())) as stream:
        while reader.take(await anext(stream)) != "heartbeat":
            pass
        for number in range(21, 27):
            publish(live, UpsertServer(a_server(number)))
        with pytest.raises(ResourceExhausted, match="6 changes behind"):
            await anext(stream)


async def test_what_waits_for_a_reader_comes_as_one_message():
    live = a_live_model()
    reader = await Reader().read_to_heartbeat(live)
    for number in range(1, 100):
        publish(live, UpsertServer(a_server(number)))
    async with aclosing(watch(live, reader.token, QUICK, SystemClock())) as stream:
        assert reader.take(await anext(stream)) == "deltas"
    assert reader.token == live.token
    reader.assert_equals(live)


async def test_a_change_too_large_for_a_message_comes_as_a_snapshot():
    live = a_live_model()
    reader = await Reader().read_to_heartbeat(live)
    large = {"k": "x" * 1000}
    publish(live, *(UpsertServer(a_server(n, metadata=large)) for n in range(1, 1001)))
    publish(live, UpsertServer(a_server(2000)))
    await reader.read_to_heartbeat(live)
    assert reader.reasons == ["initial", "large_change"]
    reader.assert_equals(live)


async def test_a_model_that_was_never_built_is_refused_with_the_reason():
    live = a_live_model(built=False)
    live.problem = "Nova does not answer."
    with pytest.raises(StaleModel, match=r"is not defined.*Nova does not answer"):
        await anext(watch(live, None, QUICK, SystemClock()))


async def test_an_old_stream_ends():
    clock = FakeClock()
    live = a_live_model(clock=clock)
    reader = Reader()
    async for data in watch(live, None, WatchLimits(heartbeat_s=0.001), clock):
        if reader.take(data) == "heartbeat":
            await clock.advance(4000)
    assert reader.token == live.token


def test_what_changes_nothing_is_no_revision():
    live = a_live_model()
    before = live.token
    assert publish(live, UpsertHost(a_host(1)), SetHealth()) == 0
    assert live.token == before


@pytest.mark.parametrize("text", ["", "e", "e/x", "/3", "e/" + "9" * 5000])
def test_a_text_that_is_no_token_is_refused(text):
    with pytest.raises(InvalidArgument, match="resume token"):
        Token.parse(text)


steps = st.one_of(
    st.builds(lambda n, h: UpsertServer(a_server(n, h)), st.integers(1, 6), st.sampled_from(
        ["h1", "h2", ""])),
    st.integers(1, 6).map(lambda n: RemoveServer(str(uuid.UUID(int=n)))),
    st.just("reconnect"),
    st.just("read"),
)  # fmt: skip


@pytest.mark.req("C-117")
@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=40))
def test_whenever_a_reader_comes_back_it_equals_the_model(sequence):
    async def scenario():
        live = a_live_model(log=DeltaLog(max_entries=8, max_behind=6))
        reader = await Reader().read_to_heartbeat(live)
        for step in sequence:
            if step == "reconnect":
                try:
                    await reader.read_to_heartbeat(live)
                except ResourceExhausted:
                    continue
                reader.assert_equals(live)
            elif step != "read":
                publish(live, step)
        assert reader.revisions == sorted(set(reader.revisions))

    asyncio.run(scenario())


@asynccontextmanager
async def a_collector(live, address="127.0.0.1:0"):
    async def refresh():
        publish(live, UpsertServer(a_server(77)))

    service = Service("collector", address, settings=CommonSettings(host="h"))
    servicer = ModelServicer([Served(live=live, refresh=refresh)], SystemClock(), 3600.0)
    service.add(servicer, add_model_service, SERVICE)
    await service.start()
    try:
        yield f"127.0.0.1:{service.bound_port}"
    finally:
        await service.stop(grace_s=0)


@asynccontextmanager
async def following(address, **options):
    channel = open_channel(address)
    replica = ModelReplica(channel, heartbeat_s=1, **options)
    task = asyncio.create_task(replica.run())
    try:
        yield replica
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await channel.close()


async def test_a_replica_follows_over_grpc_and_verifies_the_digest():
    live = a_live_model()
    seen = []
    async with (
        a_collector(live) as address,
        following(address, on_delta=lambda delta: seen.append(delta.cause)) as replica,
    ):
        await replica.wait_ready(10)
        publish(live, UpsertServer(a_server(5)))
        await replica.wait_until(lambda model: model.n_servers == 1, 10)
        assert server_rows(replica.snapshot()) == server_rows(live.snapshot())
        assert (replica.epoch, replica.revision, seen) == ("e", live.model.revision, ["poll"])


@pytest.mark.req("C-117")
async def test_a_replica_whose_content_differs_takes_a_fresh_snapshot():
    live = a_live_model()
    publish(live, *(UpsertServer(a_server(number)) for number in range(6_000)))
    async with a_collector(live) as address, following(address) as replica:
        await replica.wait_ready(10)
        replica.model.apply([UpsertServer(a_server(3, name="not so"))])
        await replica.wait_until(
            lambda model: model.find_server(a_server(3).uuid).name == "vm3", 20
        )
        assert replica.snapshots_taken == 2
        assert replica.model.digest() == live.model.digest()


async def test_the_first_digest_of_a_large_model_lets_others_run_meanwhile():
    live = a_live_model()
    publish(live, *(UpsertServer(a_server(number)) for number in range(3 * DIGEST_AT_ONCE)))
    turns = 0

    async def count_turns():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count_turns())
    async with aclosing(watch(live, None, QUICK, SystemClock())) as stream:
        await anext(stream)
    counting.cancel()
    assert turns >= 2


async def test_a_replica_knows_the_age_of_what_it_got():
    clock = FakeClock()
    live = a_live_model(clock=clock)
    await clock.advance(500)
    async with a_collector(live) as address, following(address) as replica:
        await replica.wait_ready(10)
        async with asyncio.timeout(10):
            while replica.age_s < 500:
                publish(live, UpsertServer(a_server(5)), SetHealth(stale_reason="Nova is away."))
                await asyncio.sleep(0.01)
        assert replica.snapshot().stale_reason == "Nova is away."


async def test_a_replica_resumes_with_its_token_when_collector_comes_back():
    live = a_live_model()
    async with a_collector(live) as address, following(address) as replica:
        await replica.wait_ready(10)
    async with following(address) as replica:
        async with a_collector(live, address):
            await replica.wait_ready(10)
        publish(live, UpsertServer(a_server(5)))
        async with a_collector(live, address):
            await replica.wait_until(lambda model: model.n_servers == 1, 10)
        assert replica.snapshots_taken == 1


async def test_a_replica_without_collector_says_why_it_has_no_model():
    async with following("127.0.0.1:1") as replica:
        with pytest.raises(StaleModel, match="cluster state is not defined"):
            await replica.wait_ready(0.3)
        assert not replica.ready


async def test_get_model_lists_and_refresh():
    live = a_live_model()
    async with a_collector(live) as address:
        channel = open_channel(address)
        stub = model_pb2_grpc.ModelServiceStub(channel)
        (info,) = (await stub.ListModels(model_pb2.ListModelsRequest(), timeout=5)).models
        assert (info.kind, info.hosts, info.servers, info.stale_reason) == ("compute", 2, 0, "")
        done = await stub.Refresh(model_pb2.RefreshRequest(), timeout=5)
        wanted = model_pb2.GetModelRequest(min_position=done.position)
        parts = [part.WhichOneof("part") async for part in stub.GetModel(wanted, timeout=5)]
        assert parts == ["begin", "compute", "compute", "end"]
        for request, code in [
            (model_pb2.GetModelRequest(kind="storage"), grpc.StatusCode.NOT_FOUND),
            (
                model_pb2.GetModelRequest(min_position=model_pb2.Position(epoch="x", revision=1)),
                grpc.StatusCode.FAILED_PRECONDITION,
            ),
        ]:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.GetModel(request, timeout=5).read()
            assert raised.value.code() is code
        await channel.close()


async def test_a_flood_of_refreshes_reads_the_cloud_a_few_times_and_says_when_to_ask_again():
    clock, reads = FakeClock(), []
    live = a_live_model()

    async def refresh():
        reads.append(clock.monotonic())

    servicer = ModelServicer([Served(live=live, refresh=refresh)], clock, 3600.0)
    refused = []
    for _ in range(50):
        try:
            await servicer.Refresh(model_pb2.RefreshRequest(), None)
        except ResourceExhausted as error:
            refused.append(error)
    assert (len(reads), len(refused)) == (3, 47)
    assert "Ask again in 10.0 s" in refused[0].message
    await clock.advance(float(refused[0].details["retry_after_s"]))
    await servicer.Refresh(model_pb2.RefreshRequest(), None)
    with pytest.raises(ResourceExhausted):
        await servicer.Refresh(model_pb2.RefreshRequest(), None)
    assert len(reads) == 4
