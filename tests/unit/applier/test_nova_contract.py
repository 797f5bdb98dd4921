"""The promises of `NovaWrites`, kept by the small Nova in memory and by the client over HTTP."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openstack
import pytest
import yaml
from fake_nova import FakeNova
from real_cloud import OURS, RealCloud
from real_parts import cloud_session, nova_client

from trimtab_common.domain.errors import (
    Conflict,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from trimtab_common.openstack.nova_writes import (
    MigrationView,
    NovaClient,
    NovaWrites,
    OutcomeUnknown,
)
from trimtab_common.openstack.session import CloudSession
from trimtab_common.runtime.clock import SystemClock
from trimtab_fakecloud import CloudSpec, FakeCloud, running_fakecloud

NOBODY = "00000000-0000-4000-8000-00000000dead"
SPEC = CloudSpec(hosts=4, servers=6, seed=3, migration_s=0.15, resize_s=0.05)


class Rig:
    def __init__(
        self,
        nova: Any,
        servers: list[str],
        hosts: list[str],
        flavor: str,
        *,
        limit_s: float = 10.0,
        is_ours_alone: bool = True,
    ) -> None:
        self.nova: NovaWrites = nova
        self.limit_s = limit_s
        self.is_ours_alone = is_ours_alone
        self.servers, self.hosts, self.flavor = servers, hosts, flavor
        self.since = datetime.now(UTC) - timedelta(minutes=5)

    async def until(self, server: str, status: str) -> None:
        end = time.monotonic() + self.limit_s
        while time.monotonic() < end:
            moves = await self.nova.migrations_of(server)
            view = await self.nova.server(server)
            if (
                moves
                and moves[-1].status == status
                and view is not None
                and view.task_state is None
            ):
                return
            await asyncio.sleep(0.02)
        raise TimeoutError(moves)

    async def move(self, server: str) -> MigrationView:
        """The one move of a server, once Nova has chosen or checked where it goes.

        Nova accepts first: the record and its destination follow when the conductor comes to it.
        """
        end = time.monotonic() + self.limit_s
        while time.monotonic() < end:
            moves = await self.nova.migrations_of(server)
            if moves and moves[0].destination:
                (move,) = moves
                return move
            await asyncio.sleep(0.02)
        raise TimeoutError(moves)

    async def other_host(self, server: str) -> str:
        view = await self.nova.server(server)
        assert view is not None
        return next(host for host in self.hosts if host != view.host)


@asynccontextmanager
async def in_memory() -> AsyncIterator[Rig]:
    nova = FakeNova(SystemClock(), move_s=0.15)
    nova.add_hosts("h1", "h2", "h3")
    for number in range(6):
        nova.add_server(f"s{number}", "h1")
    yield Rig(nova, list(nova.all), list(nova.hosts), "m2")


@asynccontextmanager
async def over_http() -> AsyncIterator[Rig]:
    async with running_fakecloud(SPEC) as cloud:
        session = cloud_session(cloud)
        active = [s for s in cloud.state.servers_newest_first() if s.status == "ACTIVE"]
        roomy = sorted(cloud.state.hosts, key=lambda h: len(cloud.state.servers_on(h)))
        flavors = [f.name for f in cloud.state.flavors.values()]
        yield Rig(nova_client(session), [s.id for s in active], roomy, flavors[0])
        await session.close()


@asynccontextmanager
async def on_the_real_cloud() -> AsyncIterator[Rig]:
    folder = Path(os.environ["TRIMTAB_REFERENCE"]) / "cloud"
    clouds = yaml.safe_load((folder / "clouds.yaml").read_text())["clouds"]

    def connect(name: str) -> openstack.connection.Connection:
        entry = clouds[name]
        return openstack.connection.Connection(
            auth=entry["auth"], region_name=entry["region_name"], app_name="trimtab-test"
        )

    with connect("devcloud") as connection:
        real = RealCloud(connection)
        real.enable_all()
        fresh = real.create(f"{OURS}applier", flavor="m1.tiny")
        servers = [fresh, *real.pool(5)]
        real.active(fresh)
        session = CloudSession(lambda: connect("watcher"))
        hosts = list(real.services())
        try:
            yield Rig(
                NovaClient(session),
                servers,
                hosts,
                "m1.small",
                limit_s=60.0,
                is_ours_alone=False,
            )
        finally:
            await session.close()
            real.settle()
            real.delete(fresh)


@pytest.fixture(
    params=[
        in_memory,
        over_http,
        pytest.param(on_the_real_cloud, marks=[pytest.mark.cloud, pytest.mark.slow]),
    ]
)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with request.param() as made:
        yield made


async def test_what_is_not_there_is_none(rig: Rig):
    assert await rig.nova.server(NOBODY) is None
    assert await rig.nova.flavor_id("no-such-flavor") is None
    assert await rig.nova.servers([NOBODY], since=rig.since) == {}
    assert await rig.nova.migrations_of(NOBODY) == []


@pytest.mark.req("B-233")
async def test_a_live_migration_is_accepted_recorded_and_moves_the_server(rig: Rig):
    server, target = rig.servers[0], await rig.other_host(rig.servers[0])
    await rig.nova.live_migrate(server, target)
    move = await rig.move(server)
    assert (move.kind, move.destination) == ("live-migration", target)
    await rig.until(server, "completed")
    view = await rig.nova.server(server)
    assert (view.host, view.status, view.task_state) == (target, "ACTIVE", None)


async def test_a_server_on_its_way_cannot_be_moved_again(rig: Rig):
    server, target = rig.servers[0], await rig.other_host(rig.servers[0])
    await rig.nova.live_migrate(server, target)
    with pytest.raises(Conflict):
        await rig.nova.live_migrate(server, target)
    assert len(await rig.nova.migrations_of(server)) == 1


async def test_what_cannot_be_is_refused(rig: Rig):
    with pytest.raises(NotFound):
        await rig.nova.live_migrate(NOBODY, None)
    with pytest.raises(InvalidArgument):
        await rig.nova.live_migrate(rig.servers[0], "no-such-host")
    with pytest.raises(Conflict):
        await rig.nova.confirm_resize(rig.servers[0])
    with pytest.raises(Conflict):  # it is not on its way
        await rig.nova.abort_live_migration(rig.servers[0], 999999)


@pytest.mark.req("B-235")
async def test_an_aborted_migration_leaves_the_server_where_it_was(rig: Rig):
    server = rig.servers[0]
    before = await rig.nova.server(server)
    await rig.nova.live_migrate(server, await rig.other_host(server))
    (move,) = await rig.nova.migrations_of(server)
    while True:  # not in every state
        try:
            await rig.nova.abort_live_migration(server, move.number)
            break
        except (Conflict, InvalidArgument):
            await asyncio.sleep(0.01)
    await rig.until(server, "cancelled")
    assert (await rig.nova.server(server)).host == before.host


@pytest.mark.req("B-234")
async def test_a_cold_migration_waits_for_its_confirmation(rig: Rig):
    server, target = rig.servers[0], await rig.other_host(rig.servers[0])
    await rig.nova.cold_migrate(server, target)
    await rig.until(server, "finished")
    assert (await rig.nova.server(server)).status == "VERIFY_RESIZE"
    await rig.nova.confirm_resize(server)
    await rig.until(server, "confirmed")
    assert (await rig.nova.server(server)).host == target


@pytest.mark.req("B-236")
async def test_a_service_is_disabled_with_a_reason_and_enabled_again(rig: Rig):
    service = (await rig.nova.compute_services())[0]
    assert service.status == "enabled"
    said = await rig.nova.set_service_status(service.uuid, enabled=False, reason="watcher_x")
    assert (said.status, said.disabled_reason) == ("disabled", "watcher_x")
    said = await rig.nova.set_service_status(service.uuid, enabled=True, reason="ignored")
    assert (said.status, said.disabled_reason) == ("enabled", None)


@pytest.mark.req("B-238")
async def test_a_server_is_stopped_and_started_again(rig: Rig):
    server, end = rig.servers[0], time.monotonic() + rig.limit_s
    await rig.nova.stop(server)
    while (await rig.nova.server(server)).vm_state != "stopped":
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    await rig.nova.start(server)
    while (await rig.nova.server(server)).vm_state != "active":
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_many_servers_and_their_moves_come_in_lists(rig: Rig):
    for server in rig.servers[:5]:
        await rig.nova.live_migrate(server, None)
    wanted, end = set(rig.servers[:5]), time.monotonic() + rig.limit_s
    while wanted - (listed := {m.server for m in await rig.nova.migrations(since=rig.since)}):
        assert time.monotonic() < end, f"{len(wanted - listed)} moves are not listed"
        await asyncio.sleep(0.02)
    if rig.is_ours_alone:
        assert listed == wanted
    views = await rig.nova.servers([*rig.servers, NOBODY], since=rig.since)
    assert set(views) == set(rig.servers)


@pytest.fixture
async def cloud() -> AsyncIterator[FakeCloud]:
    async with running_fakecloud(SPEC) as running:
        yield running


@pytest.mark.req("B-231")
@pytest.mark.parametrize("status", [500, 503])
async def test_a_write_without_an_answer_is_an_unknown_outcome_and_is_sent_once(cloud, status):
    session = cloud_session(cloud)
    nova, server = nova_client(session), next(iter(cloud.state.servers))
    await nova.check()
    cloud.state.faults.update(
        {"requests": [{"service": "compute", "method": "POST", "status": status}]}
    )
    with pytest.raises(OutcomeUnknown):
        await nova.stop(server)
    assert len(cloud.ledger.writes("compute", "/action")) == 1
    await session.close()


@pytest.mark.req("B-231")
async def test_a_read_is_tried_again(cloud):
    session = cloud_session(cloud)
    nova, server = nova_client(session), next(iter(cloud.state.servers))
    cloud.state.faults.update(
        {"requests": [{"service": "compute", "method": "GET", "status": 503, "remaining": 2}]}
    )
    assert await nova.server(server) is not None
    await session.close()


async def test_a_user_without_rights_is_told_so(cloud):
    session = cloud_session(cloud, "member")
    with pytest.raises(PermissionDenied):
        await nova_client(session).live_migrate(next(iter(cloud.state.servers)), None)
    await session.close()


class OldCloud:
    """A session with a cloud of long ago."""

    async def max_microversion(self, service: str) -> tuple[int, int]:
        del service
        return (2, 53)


@pytest.mark.req("B-231")
async def test_a_nova_that_is_too_old_is_named():
    with pytest.raises(FailedPrecondition, match=r"2\.53.*2\.56"):
        await NovaClient(OldCloud()).check()


async def test_a_nova_that_does_not_tell_its_versions_is_asked_again():
    class Recovering(OldCloud):
        answers = iter(((0, 0), (2, 90)))

        async def max_microversion(self, service: str) -> tuple[int, int]:
            del service
            return next(self.answers)

    nova = NovaClient(Recovering())
    with pytest.raises(Unavailable):
        await nova.check()
    await nova.check()


async def test_the_time_to_connect_is_part_of_a_writes_deadline():
    """A write that began late would end after the lease that allowed it."""
    may_end = threading.Event()

    def connect():
        may_end.wait(20)
        raise NotImplementedError

    session = CloudSession(connect)
    try:
        with pytest.raises(DeadlineExceeded):
            await session.send("POST", "compute", "/servers/x/action", timeout_s=0.05)
    finally:
        may_end.set()
        await session.close()
